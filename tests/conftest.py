"""Options of the suite, and the local cluster that its cluster tests share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.cluster import Status, status
from tools.operator_process import Kubectl

PARTS = ("kwok", "sim", "lws", "volcano", "vllm", "router", "inference-crds", "gateway-crds", "--gpu-nodes", "16")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is built over the golden files")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is fast comes first, and what takes the cluster down last."""
    items.sort(key=lambda item: (_marked(item, "cluster_lifecycle"), _marked(item, "cluster")))


def _marked(item: pytest.Item, name: str) -> bool:
    return item.get_closest_marker(name) is not None


@pytest.fixture(scope="session")
def cluster() -> Iterator[Status]:
    """The local cluster's status; brought up for the session unless it was up, and then left as it was found."""
    was_up = status().state == "up"
    subprocess.run([sys.executable, "-m", "testbed", "up", *PARTS], check=True)
    yield status()
    if not was_up:
        subprocess.run([sys.executable, "-m", "testbed", "down"], check=True)


@pytest.fixture(scope="session")
def kubeconfig(cluster: Status) -> Path:
    """The administrator's kubeconfig of the local cluster."""
    return Path(cluster.kubeconfig)


@pytest.fixture(scope="session")
def kubectl(cluster: Status, kubeconfig: Path) -> Kubectl:
    """kubectl as the administrator of the local cluster."""
    return Kubectl(Path(cluster.kubectl), kubeconfig)


@pytest.fixture(scope="session")
def audit_log(cluster: Status) -> Path:
    """The API server's audit log."""
    return Path(cluster.audit_log)
