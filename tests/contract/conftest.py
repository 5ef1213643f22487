"""One contract, two servers: the one in memory, and a real one."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fusioninfer.kube import errors, requests
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Connection, from_kubeconfig
from fusioninfer.kube.memory import MemoryServer
from fusioninfer.kube.requests import Request
from tests.contract.widgets import CRDS, NAMESPACES, SERVED, WIDGET_CRD, WIDGETS, Namespace, eventually, post

KUBECONFIG = "FUSIONINFER_TEST_KUBECONFIG"
"""Names the kubeconfig of another real cluster than the local one."""


@pytest.fixture(scope="session")
def real(request: pytest.FixtureRequest) -> Connection:
    """A real API server that serves widgets."""
    path = os.environ.get(KUBECONFIG) or request.getfixturevalue("kubeconfig")
    connection = from_kubeconfig(Path(path))
    asyncio.run(_install(connection))
    return connection


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.cluster)])
def server(request: pytest.FixtureRequest) -> Connection | None:
    """Where the real API server is; None for the one in memory."""
    if request.param == "memory":
        return None
    connection: Connection = request.getfixturevalue("real")
    return connection


@pytest.fixture
async def world(server: Connection | None) -> AsyncIterator[Namespace]:
    """A namespace of this test's own, on either server."""
    if server is None:
        yield Namespace(MemoryServer(SERVED), "contract")
        return
    async with real_namespace(server) as namespace:
        yield namespace


@asynccontextmanager
async def real_namespace(server: Connection) -> AsyncIterator[Namespace]:
    """A namespace on a real server, removed at the end."""
    async with Client(server) as client:
        name = f"contract-{uuid.uuid4().hex[:8]}"
        await client.send(post(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        yield Namespace(client, name)
        await client.send(Request("DELETE", NAMESPACES.path("", name)))


async def _install(connection: Connection) -> None:
    """Widgets stay installed: to take them away at the end would take them from whoever else tries the contract."""
    async with Client(connection) as client:
        await client.send(requests.apply(CRDS, WIDGET_CRD, manager="contract"))
        await eventually(lambda: _are_served(client), "widgets to be served")


async def _are_served(client: Client) -> bool:
    try:
        await client.send(requests.list_page(WIDGETS))
    except errors.NotFound:
        return False
    return True
