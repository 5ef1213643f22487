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
from tests.cluster.harness import AuditLog, Namespace, a_service, is_write, nothing_runs, processes_of
from tests.cluster.operators import leader, lease, led_by, ready_operators
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
    pods = ready_operators(release, 2)
    led = led_by(release, pods)
    sent = time.time()
    for process in processes_of(pods[led], "operator"):
        os.kill(process, number)
    release.wait(lambda: leader(release), lambda name: name not in ("", led), "the other to lead", 30)
    taken = datetime.fromisoformat(lease(release)["acquireTime"]).timestamp()
    release("delete", "pod", led)  # the kubelet starts its container later each time
    return taken - sent


def _started(release: Namespace, audit: AuditLog, namespace: Namespace, number: int) -> float:
    """Seconds from the start of the only operator's process to its first write for a service that was there before."""
    release("scale", "deployment", "fusioninfer", "--replicas=0")
    ready_operators(release, 0)
    namespace.apply(a_service(f"waits-{number}", template=nothing_runs(), replicas=1))
    with audit.requests_of(OPERATOR) as requests:
        release("scale", "deployment", "fusioninfer", "--replicas=1")
        (pod,) = ready_operators(release, 1).values()
        namespace.wait_ready(f"waits-{number}")
    (process,) = processes_of(pod, "operator")
    first = min(datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in requests if is_write(entry))
    return first.timestamp() - started_at(process)
