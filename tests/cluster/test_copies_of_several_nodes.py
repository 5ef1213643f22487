"""Copies of several nodes, on nodes that are played: LeaderWorkerSet decides, the status counts."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import AuditLog, Manifest, Namespace, a_service, is_read, is_write, nothing_runs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SERVE = ["--model", "Qwen/Qwen3-235B-A22B", "--tensor-parallel-size", "16"]


def on_gpus(gpus: int = 8, **container: Any) -> Manifest:
    """A template of vLLM on GPUs that nobody has."""
    resources = {"limits": {"nvidia.com/gpu": gpus}}
    return nothing_runs(**{"args": SERVE, "resources": resources, **container})


def component(namespace: Namespace, name: str) -> Manifest:
    found: Manifest = namespace.service(name).get("status", {}).get("components", {}).get("inference", {})
    return found


def counts(namespace: Namespace, name: str) -> tuple[int, ...]:
    """Copies wanted, ready and updated; pods wanted and ready."""
    found = component(namespace, name)
    return tuple(
        found.get(field, -1)
        for field in ("desiredReplicas", "readyReplicas", "updatedReplicas", "totalPods", "readyPods")
    )


@pytest.mark.side_by_side
def test_one_copy_on_two_nodes(namespace: Namespace) -> None:
    service = a_service("qwen-inference", template=on_gpus(), roleReplicas=1, multinode={"nodeCount": 2})
    namespace.apply(service)

    status = namespace.wait_ready("qwen-inference")["status"]

    found = status["components"]["inference"]
    assert (found["nodesPerReplica"], found["totalPods"], found["readyPods"]) == (2, 2, 2)
    assert found["workload"]["kind"] == "LeaderWorkerSet"
    leader, worker = sorted(namespace.list("pods"), key=lambda pod: str(pod["metadata"]["name"]))
    assert leader["spec"]["nodeName"] != worker["spec"]["nodeName"]
    assert leader["metadata"]["labels"]["fusioninfer.io/serving"] == "true"
    assert "fusioninfer.io/serving" not in worker["metadata"]["labels"]
    (slice_,) = namespace.list("endpointslices.discovery.k8s.io", "-l", "kubernetes.io/service-name=qwen-inference")
    assert [endpoint["targetRef"]["name"] for endpoint in slice_["endpoints"]] == [leader["metadata"]["name"]]


def test_a_copy_is_ready_only_when_all_of_its_nodes_are(namespace: Namespace) -> None:
    template = on_gpus(gpus=1, args=["--model", "qwen", "--tensor-parallel-size", "8"])
    namespace.apply(a_service("big", template=template, replicas=4, multinode={"nodeCount": 8}))
    namespace.wait_ready("big", 120)
    assert counts(namespace, "big") == (4, 4, 4, 32, 32)

    unready = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Played"}]}}
    namespace("patch", "pod", "big-inference-2-5", "--subresource=status", "-p", json.dumps(unready))

    namespace.wait(lambda: counts(namespace, "big"), lambda seen: seen == (4, 3, 4, 32, 31), "one pod to be missed")
    assert namespace.condition("big", "Available")["status"] == "True"
    assert namespace.condition("big", "Ready")["status"] == "False"
    assert "big-inference-2-5" in namespace.condition("big", "Ready")["message"]


def test_two_hundred_copies_are_counted(namespace: Namespace) -> None:
    template = on_gpus(gpus=0, args=["--model", "qwen", "--tensor-parallel-size", "2"])
    namespace.apply(a_service("many", template=template, replicas=200, multinode={"nodeCount": 2}))

    namespace.wait_ready("many", 300)

    assert counts(namespace, "many") == (200, 200, 200, 400, 400)
    pods = namespace.list("pods")
    assert len(pods) == 400
    assert sum(pod["metadata"]["labels"].get("fusioninfer.io/serving") == "true" for pod in pods) == 200


def test_writes_are_counted(namespace: Namespace, audit: AuditLog) -> None:
    template = on_gpus(gpus=1, args=["--model", "qwen", "--tensor-parallel-size", "2"])
    service = a_service("few", template=template, replicas=1, multinode={"nodeCount": 2})

    with audit.requests_of(OPERATOR) as creating:
        namespace.apply(service)
        namespace.wait_ready("few")
    with audit.requests_of(OPERATOR) as resting:
        time.sleep(5)
    service["spec"]["roles"][0]["replicas"] = 2
    with audit.requests_of(OPERATOR) as scaling:
        namespace.apply(service)
        namespace.wait_ready("few")

    def mine(requests: list[Manifest]) -> list[str]:
        return [
            f"{entry['verb']} {entry['objectRef']['resource']}"
            for entry in requests
            if entry["objectRef"].get("namespace") == namespace.name and (is_write(entry) or is_read(entry))
        ]

    reads = ["get services", "list statefulsets"]  # whether the names are free that LWS will use
    assert sorted(mine(creating)) == sorted([*reads, "patch services", "patch leaderworkersets"] + 2 * STATUS)
    assert mine(resting) == []
    assert mine(scaling).count("patch leaderworkersets") == 1
    assert set(mine(scaling)) == {"patch leaderworkersets", *STATUS}


STATUS = ["patch inferenceservices"]


@pytest.mark.side_by_side
def test_more_nodes_are_a_roll_out_and_not_a_new_workload(namespace: Namespace) -> None:
    template = on_gpus(gpus=1, args=["--model", "qwen", "--tensor-parallel-size", "2"])
    service = a_service("grows", template=template, replicas=2, multinode={"nodeCount": 2})
    namespace.apply(service)
    namespace.wait_ready("grows")
    uid = namespace.get("leaderworkerset", "grows-inference")["metadata"]["uid"]

    service["spec"]["roles"][0]["multinode"] = {"nodeCount": 4}
    service["spec"]["roles"][0]["template"] = on_gpus(gpus=1, args=["--model", "qwen", "-tp", "4"])
    namespace.apply(service)
    namespace.wait_ready("grows")

    assert counts(namespace, "grows") == (2, 2, 2, 8, 8)
    assert namespace.get("leaderworkerset", "grows-inference")["metadata"]["uid"] == uid


@pytest.mark.side_by_side
def test_one_node_becomes_several_and_one_again(namespace: Namespace) -> None:
    template = on_gpus(gpus=1, args=["--model", "qwen"])
    single = a_service("turns", template=template, replicas=2)
    several = a_service("turns", template=on_gpus(gpus=1, args=SERVE[:2]), replicas=2, multinode={"nodeCount": 2})
    several["spec"]["roles"][0]["template"]["spec"]["containers"][0]["args"] += ["-tp", "2"]
    for service, kind, pods in (
        (single, "StatefulSet", 2),
        (several, "LeaderWorkerSet", 4),
        (single, "StatefulSet", 2),
    ):
        namespace.apply(service)
        namespace.wait_ready("turns")

        found = component(namespace, "turns")
        assert (found["workload"]["kind"], found["readyPods"]) == (kind, pods)
        assert len(namespace.list("pods")) == pods
    reasons = {event["reason"] for event in namespace.list("events")}
    assert "RecreatingWorkload" in reasons


@pytest.mark.side_by_side
def test_a_stranger_with_a_name_that_lws_would_use_is_left_alone(namespace: Namespace) -> None:
    namespace("create", "service", "clusterip", "mine-inference", "--tcp=80")
    before = namespace.get("service", "mine-inference")

    template = on_gpus(gpus=1, args=["--model", "qwen", "-tp", "2"])
    namespace.apply(a_service("mine", template=template, multinode={"nodeCount": 2}))

    condition = namespace.wait_reason("mine", "Accepted", "NameConflict")
    assert "Service 'mine-inference'" in condition["message"]
    assert namespace.get("service", "mine-inference") == before
    assert namespace.list("leaderworkersets") == []

    namespace("delete", "service", "mine-inference")
    namespace.wait_ready("mine")


@pytest.mark.side_by_side
def test_a_strangers_leader_worker_set_of_our_name_is_left_alone(namespace: Namespace) -> None:
    template = nothing_runs(args=["--model", "qwen"])
    theirs = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "mine-inference"},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
    }
    namespace.apply(theirs)
    namespace.wait(lambda: namespace.list("statefulsets"), bool, "its StatefulSets")

    template = on_gpus(gpus=1, args=["--model", "qwen", "-tp", "2"])
    namespace.apply(a_service("mine", template=template, multinode={"nodeCount": 2}))

    condition = namespace.wait_reason("mine", "Accepted", "NameConflict")
    assert "LeaderWorkerSet 'mine-inference'" in condition["message"]
    live = namespace.get("leaderworkerset", "mine-inference")
    assert "fusioninfer.io/service" not in live["metadata"].get("labels", {})

    namespace("delete", "leaderworkerset", "mine-inference")
    namespace.wait_ready("mine")
