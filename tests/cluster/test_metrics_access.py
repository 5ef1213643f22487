"""Who reads the operator's metrics in a cluster: whom the API server knows, and lets."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusioninfer.daemon.rbac import API_GROUP, METRICS_READER
from tests.cluster.harness import Namespace

pytestmark = pytest.mark.cluster


@pytest.fixture
def reader(namespace: Namespace) -> Iterator[str]:
    """The token of an account that the ClusterRole of readers is bound to."""
    binding = {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": namespace.name},
        "roleRef": {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": METRICS_READER},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace.name}],
    }
    namespace("create", "serviceaccount", "reader")
    namespace.kubectl.apply([binding])
    yield namespace("create", "token", "reader").strip()
    namespace.kubectl("delete", "clusterrolebinding", namespace.name)


def port_of(log: Path, namespace: Namespace) -> int:
    """Where the operator that writes `log` answers."""

    def served() -> list[int]:
        lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
        return [line["port"] for line in lines if line["event"] == "serving"]

    ports: list[int] = namespace.wait(served, bool, "the operator to serve")
    return ports[-1]


def read(port: int, token: str = "") -> tuple[int, str]:
    """Status and text of /metrics for whom `token` belongs to."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_the_metrics_are_told_to_whom_the_role_is_bound(operator: Path, namespace: Namespace, reader: str) -> None:
    status, text = read(port_of(operator, namespace), reader)

    assert status == 200
    assert "fusioninfer_leader " in text


def test_the_metrics_are_told_to_nobody_else(operator: Path, namespace: Namespace, reader: str) -> None:
    port = port_of(operator, namespace)
    namespace("create", "serviceaccount", "stranger")
    stranger = namespace("create", "token", "stranger").strip()

    assert read(port) == (401, "metrics ask for a bearer token\n")
    assert read(port, "guessed") == (401, "the API server does not know this bearer token, or no longer\n")
    assert read(port, reader[:-2]) == (401, "the API server does not know this bearer token, or no longer\n")
    assert read(port, stranger) == (
        403,
        f"system:serviceaccount:{namespace.name}:stranger may not get /metrics: "
        f"bind it to the ClusterRole {METRICS_READER}\n",
    )
