"""The operator ends, is killed, is replaced by another version: what runs goes on, and what was begun is finished."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusioninfer.build.engines import installed as engines
from fusioninfer.build.router.strategies import installed as strategies
from fusioninfer.cli.render import rendered
from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import AuditLog, Manifest, Namespace, a_service, is_write, nothing_runs
from tools import operator_process

pytestmark = pytest.mark.cluster

CHANGES_THE_RENDERER = """\
import fusioninfer.build.pod
fusioninfer.build.pod.STARTUP_PERIOD_SECONDS = 7
"""
"""Run by Python at its start (sitecustomize): an operator that builds another template for the same words."""

DIES_AT_A_WRITE = """\
import os, signal
from fusioninfer.kube.client import Client
send, left = Client.send, [int(os.environ["DIE_AT"])]

async def dying(self, request):
    if request.method == "GET" or "/leases/" in request.path or "/events/" in request.path:
        return await send(self, request)
    left[0] -= 1
    mine = left[0] == 0
    if mine and os.environ["DIE"] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = await send(self, request)
    if mine:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

Client.send = dying
"""
"""An operator that is killed before its n-th write goes out, or after the API server has answered it."""


class Operators:
    """Starts operators for one namespace, one after the other."""

    def __init__(self, kubeconfig: Path, namespace: Namespace, folder: Path) -> None:
        self.kubeconfig, self.namespace, self.folder = kubeconfig, namespace, folder
        self.log = folder / "operator.log"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, script: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """An operator that runs `script` first."""
        (self.folder / "sitecustomize.py").write_text(script)
        process = operator_process.start(
            self.kubeconfig, self.log, "--port", "0", "--namespace", self.namespace.name, "--no-leader-election",
            environment={**environment, "PYTHONPATH": str(self.folder)},
        )  # fmt: skip
        self.started.append(process)
        return process

    @contextmanager
    def running(self, script: str = "") -> Iterator[None]:
        process = self.start(script)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def operators(operator_kubeconfig: Path, namespace: Namespace, tmp_path: Path) -> Iterator[Operators]:
    """Operators of this test's own; none of them outlives it."""
    own = Operators(operator_kubeconfig, namespace, tmp_path)
    yield own
    for process in own.started:
        process.kill()
        process.wait()


def test_a_restart_writes_nothing(namespace: Namespace, operators: Operators, audit: AuditLog) -> None:
    with operators.running():
        namespace.apply(*(a_service(f"quiet-{n}", template=nothing_runs(), replicas=1) for n in range(5)))
        for n in range(5):
            namespace.wait_ready(f"quiet-{n}")
        time.sleep(11)  # the longest that a change of the status may have waited

    with audit.requests_of(OPERATOR) as requests, operators.running():
        time.sleep(4)

    assert [entry["verb"] for entry in requests if is_write(entry)] == []
    assert len(requests) > 0


def test_a_version_that_builds_other_templates_restarts_nothing(namespace: Namespace, operators: Operators) -> None:
    service = a_service("kept", template=nothing_runs(), replicas=2)
    with operators.running():
        namespace.apply(service)
        namespace.wait_ready("kept")
    before = namespace.get("statefulset", "kept-inference")

    with operators.running(CHANGES_THE_RENDERER):
        namespace.wait_reason("kept", "Progressing", "UpdatePending")
        assert namespace.condition("kept", "Ready")["status"] == "True"
        after = namespace.get("statefulset", "kept-inference")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

        service["spec"]["roles"][0]["replicas"] = 3
        namespace.apply(service)
        namespace.wait_ready("kept")
        scaled = namespace.get("statefulset", "kept-inference")
        assert scaled["spec"]["replicas"] == 3
        assert scaled["spec"]["template"] == before["spec"]["template"]

        service["spec"]["roles"][0]["template"] = nothing_runs(args=["--model", "other"])
        namespace.apply(service)
        namespace.wait_reason("kept", "Progressing", "RolledOut")
        namespace.wait_ready("kept")
        (container,) = namespace.get("statefulset", "kept-inference")["spec"]["template"]["spec"]["containers"]
        assert container["startupProbe"]["periodSeconds"] == 7


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3])
def test_an_operator_that_is_killed_at_a_write_is_followed_up(
    write: int, moment: str, namespace: Namespace, operators: Operators
) -> None:
    dying = operators.start(DIES_AT_A_WRITE, DIE_AT=str(write), DIE=moment)
    namespace.apply(a_service("cut", template=nothing_runs(), replicas=2))
    assert dying.wait(30) == -9

    with operators.running():
        status = namespace.wait_ready("cut")["status"]

    assert status["components"]["inference"]["readyReplicas"] == 2
    assert [s["metadata"]["name"] for s in namespace.list("statefulsets")] == ["cut-inference"]
    assert [s["metadata"]["name"] for s in namespace.list("services")] == ["cut"]
    assert len(namespace.list("pods")) == 2


def test_render_prints_what_is_applied(namespace: Namespace, operators: Operators) -> None:
    service = a_service("same", template=nothing_runs(), replicas=1)
    with operators.running():
        namespace.apply(service)
        namespace.wait_ready("same")

    documents = "".join(rendered(json.dumps(service), engines(), strategies(), namespace.name)).split("---\n")[1:]
    for document, (kind, name) in zip(documents, [("service", "same"), ("statefulset", "same-inference")], strict=True):
        live: Manifest = namespace.get(kind, name)
        assert f"fusioninfer.io/applied: {live['metadata']['annotations']['fusioninfer.io/applied']}" in document
