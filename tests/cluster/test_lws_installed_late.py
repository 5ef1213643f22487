"""LeaderWorkerSet is missing, and installed while services wait for it: nobody restarts anything."""

from __future__ import annotations

from datetime import datetime

import pytest

from fusioninfer.cli.causes import Class
from tests.cluster.commands import fusioninfer
from tests.cluster.conftest import install_lws
from tests.cluster.harness import Namespace, a_service, nothing_runs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("without_lws", "operator")]


def test_a_service_says_what_is_missing_and_comes_up_once_it_is_there(namespace: Namespace) -> None:
    template = nothing_runs(args=["--model", "qwen", "-tp", "2"])
    namespace.apply(a_service("waits", template=template, replicas=1, multinode={"nodeCount": 2}))
    namespace.apply(a_service("other", template=nothing_runs(), replicas=1))

    condition = namespace.wait_reason("waits", "Ready", "NotInstalled")
    assert "LeaderWorkerSet (leaderworkerset.x-k8s.io/v1), which this cluster does not serve" in condition["message"]
    namespace.wait_ready("other")
    explained = fusioninfer(namespace, "explain", "waits")
    assert explained.stdout.splitlines()[0] == condition["message"]
    assert explained.returncode == Class.MISSING
    assert "to get LeaderWorkerSet: kubectl apply" in fusioninfer(namespace, "check").stdout

    install_lws()
    answered = datetime.now().astimezone()
    namespace.wait_ready("waits", 30)

    made = namespace.get("leaderworkerset", "waits-inference")["metadata"]["creationTimestamp"]
    assert (datetime.fromisoformat(made) - answered).total_seconds() <= 10


def test_what_serves_goes_on_until_it_can_be_replaced(namespace: Namespace) -> None:
    namespace.apply(a_service("turns", template=nothing_runs(args=["--model", "qwen"]), replicas=1))
    namespace.wait_ready("turns")

    template = nothing_runs(args=["--model", "qwen", "-tp", "2"])
    namespace.apply(a_service("turns", template=template, replicas=1, multinode={"nodeCount": 2}))

    namespace.wait_reason("turns", "Ready", "NotInstalled")
    assert namespace.condition("turns", "Available")["status"] == "True"
    assert namespace.get("statefulset", "turns-inference")["status"]["readyReplicas"] == 1

    install_lws()
    namespace.wait_ready("turns", 30)
    assert namespace.get("leaderworkerset", "turns-inference")["status"]["readyReplicas"] == 1
