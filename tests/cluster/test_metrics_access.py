"""Who reads the operator's metrics in a cluster: whom the API server knows, and lets."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fusioninfer.daemon.rbac import METRICS_READER
from tests.cluster.harness import Namespace, port_of

pytestmark = pytest.mark.cluster


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
