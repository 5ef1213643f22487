"""Whatever is written, both servers answer the same and hold the same."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.kube import errors
from fusioninfer.kube.connection import Connection
from fusioninfer.kube.memory import MemoryServer
from fusioninfer.kube.requests import Manifest
from tests.contract import random_writes
from tests.contract.conftest import real_namespace
from tests.contract.random_writes import Write
from tests.contract.widgets import SERVED, WIDGETS, Namespace

ANSWERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "namespace")
"""Metadata in which two servers differ."""


@pytest.mark.cluster
@pytest.mark.parametrize("seed", range(40))
async def test_both_servers_agree_on_any_writes(real: Connection, seed: int) -> None:
    memory = Namespace(MemoryServer(SERVED), "contract")
    async with real_namespace(real) as actual:
        for step, write in enumerate(random_writes.writes(seed, count=12)):
            assert await _outcome(memory, write) == await _outcome(actual, write), f"step {step}: {write}"


async def _outcome(namespace: Namespace, write: Write) -> Any:
    """The code of the answer (200 if it is no refusal), and the object afterwards."""
    code = 200
    try:
        await namespace.send(write.request(namespace.name))
    except errors.ApiError as refusal:
        code = refusal.status.code
    try:
        return code, _comparable(await namespace.get(WIDGETS, "w"))
    except errors.NotFound:
        return code, None


def _comparable(live: Manifest) -> Manifest:
    metadata = {name: value for name, value in live["metadata"].items() if name not in ANSWERS_OWN}
    entries = [{**entry, "time": ""} for entry in metadata.pop("managedFields", [])]
    return {**live, "metadata": metadata, "held": sorted(entries, key=_identity)}


def _identity(entry: Manifest) -> tuple[str, ...]:
    return entry["manager"], entry["operation"], entry.get("subresource", "")
