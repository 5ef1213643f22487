"""Volcano is missing, and installed while services wait for it: nobody restarts the operator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from testbed import processes, volcano
from tests.cluster.harness import Manifest, Namespace, a_gang, a_role, a_service, nothing_runs
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

PODGROUPS = "podgroups.scheduling.volcano.sh"


@contextmanager
def without_volcano(kubectl: Kubectl) -> Iterator[None]:
    """A cluster as it is without Volcano for the time of the block, and after it one that has it again."""
    try:
        processes.end([volcano.SCHEDULER, volcano.CONTROLLERS])
        kubectl("delete", "crd", PODGROUPS, "--timeout=60s")
        yield
    finally:
        subprocess.run([sys.executable, "-m", "testbed", "up", "volcano"], check=True)


def made_at(manifest: Manifest) -> datetime:
    return datetime.fromisoformat(manifest["metadata"]["creationTimestamp"])


def pods(namespace: Namespace) -> list[str]:
    return [pod["metadata"]["uid"] for pod in namespace.list("pods")]


def test_a_service_says_what_is_missing_and_comes_up_once_it_is_there(namespace: Namespace) -> None:
    namespace.make_nodes(8, 8)
    with without_volcano(namespace.kubectl):
        namespace.apply(a_gang("waits", a_role(namespace, nodes=2)))
        namespace.apply(a_service("other", template=nothing_runs(), replicas=1))

        scheduled = namespace.wait_reason("waits", "Scheduled", "NotInstalled")
        assert scheduled["status"] == "False"
        assert "PodGroup (scheduling.volcano.sh/v1beta1), which this cluster does not serve" in scheduled["message"]
        assert "install Volcano 1.14 or newer" in namespace.condition("waits", "Ready")["message"]
        namespace.wait_ready("other")
        assert namespace.list("leaderworkersets") == []

    namespace.wait_ready("waits", 30)
    installed, made = (made_at(namespace.get(*of)) for of in (("crd", PODGROUPS), ("podgroup", "waits")))
    assert (made - installed).total_seconds() <= 10


def test_what_runs_goes_on_and_is_changed_only_when_it_can_be(namespace: Namespace) -> None:
    namespace.make_nodes(*3 * [8])
    service = a_gang("goes", role := a_role(namespace, replicas=2))
    namespace.apply(service)
    namespace.wait_ready("goes")
    before = pods(namespace)

    with without_volcano(namespace.kubectl):
        role["replicas"] = 3
        namespace.apply(service)
        namespace.wait_reason("goes", "Ready", "NotInstalled")
        assert namespace.condition("goes", "Available")["status"] == "True"
        assert namespace.get("statefulset", "goes-inference")["spec"]["replicas"] == 2
        assert pods(namespace) == before

    namespace.wait_ready("goes", 30)
    assert set(before) < set(pods(namespace))
    group: Manifest = namespace.wait(
        lambda: namespace.get("podgroup", "goes"), lambda group: group["spec"]["minMember"] == 3, "all in the gang"
    )
    assert group["status"]["phase"] == "Running"
