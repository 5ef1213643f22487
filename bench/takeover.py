"""How long nobody works: from the end of one operator of the chart to the lead of the next, and from start to work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from bench.processes import started_at
from tests.cluster.harness import AuditLog, Manifest, Namespace, a_service, is_write, nothing_runs, processes_of
from tools import in_cluster
from tools.operator_process import Kubectl

TIMES = 10
OPERATOR = f"system:serviceaccount:{in_cluster.NAMESPACE}:fusioninfer"


@dataclass(frozen=True, slots=True)
class Takeovers:
    """Seconds, of each of TIMES."""

    told: list[float]
    """From SIGTERM to the leader until the other one leads."""
    killed: list[float]
    """From SIGKILL to the leader until the other one leads."""
    starts: list[float]
    """From the start of a lone operator's process to its first write for a service that waits."""


def measured(kubectl: Kubectl, audit: AuditLog, namespace: Namespace) -> Takeovers:
    """All of it, with two operators installed by the chart; they are gone afterwards."""
    with _installed(kubectl) as release:
        told = [_taken_over(release, signal.SIGTERM) for _ in range(TIMES)]
        killed = [_taken_over(release, signal.SIGKILL) for _ in range(TIMES)]
        starts = [_started(release, audit, namespace, number) for number in range(TIMES)]
    return Takeovers(told, killed, starts)


@contextmanager
def _installed(kubectl: Kubectl) -> Iterator[Namespace]:
    helm = in_cluster.helm(kubectl.kubeconfig)
    helm.install(*in_cluster.load_image())
    try:
        yield Namespace(kubectl, in_cluster.NAMESPACE)
    finally:
        helm("uninstall", in_cluster.RELEASE, "--namespace", in_cluster.NAMESPACE, "--wait")


def _taken_over(release: Namespace, number: signal.Signals) -> float:
    """Seconds from signal `number` to the leader's process until the other operator holds the Lease."""
    pods = _ready(release, 2)
    leader = _leader(release)
    sent = time.time()
    for process in processes_of(pods[leader], "operator"):
        os.kill(process, number)
    release.wait(lambda: _leader(release), lambda name: name not in ("", leader), "the other to lead", 30)
    taken = datetime.fromisoformat(_lease(release)["acquireTime"]).timestamp()
    release("delete", "pod", leader)  # the kubelet starts its container later each time
    return taken - sent


def _started(release: Namespace, audit: AuditLog, namespace: Namespace, number: int) -> float:
    """Seconds from the start of the only operator's process to its first write for a service that was there before."""
    release("scale", "deployment", "fusioninfer", "--replicas=0")
    _ready(release, 0)
    namespace.apply(a_service(f"waits-{number}", template=nothing_runs(), replicas=1))
    with audit.requests_of(OPERATOR) as requests:
        release("scale", "deployment", "fusioninfer", "--replicas=1")
        (pod,) = _ready(release, 1).values()
        namespace.wait_ready(f"waits-{number}")
    (process,) = processes_of(pod, "operator")
    first = min(datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in requests if is_write(entry))
    return first.timestamp() - started_at(process)


def _ready(release: Namespace, count: int) -> dict[str, Manifest]:
    """So many operators by name, once there are as many, and all of them ready."""

    def look() -> dict[str, Manifest]:
        pods = release.list("pods", "-l", "app.kubernetes.io/name=fusioninfer")
        return {pod["metadata"]["name"]: pod for pod in pods}

    def good(pods: dict[str, Manifest]) -> bool:
        return len(pods) == count and all(
            condition["status"] == "True"
            for pod in pods.values()
            for condition in pod["status"].get("conditions", [{"type": "Ready", "status": "False"}])
            if condition["type"] == "Ready"
        )

    pods: dict[str, Manifest] = release.wait(look, good, f"{count} operators to be ready", 60)
    return pods


def _lease(release: Namespace) -> Manifest:
    spec: Manifest = release.get("lease", "fusioninfer")["spec"]
    return spec


def _leader(release: Namespace) -> str:
    """The pod that leads; empty while none does."""
    return str(_lease(release).get("holderIdentity", "")).partition("_")[0]
