"""A gang on the real Volcano: all pods of a service get nodes together or none does, and the status says what lacks."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import (
    KWOK,
    AuditLog,
    Manifest,
    Namespace,
    a_gang,
    a_namespace,
    a_role,
    asked,
    is_write,
    wait_asked,
)

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

VOLCANO = "volcano"
"""Who the scheduler is to the API server."""


def the_story(namespace: Namespace) -> Manifest:
    """The proposal's second story without its router: ten pods in three copies of two roles."""
    prefill = a_role(namespace, "prefill-servers", nodes=4, gpus=4, componentType="prefiller")
    decode = a_role(namespace, "decode-servers", nodes=2, gpus=4, componentType="decoder")
    del prefill["multinode"], decode["multinode"]
    return a_gang(
        "qwen-inference-service", {**prefill, "roleReplicas": 2, "podReplicas": 4}, {**decode, "podReplicas": 2}
    )


def bound(namespace: Namespace) -> list[str]:
    """The pods that have a node."""
    return [pod["metadata"]["name"] for pod in namespace.list("pods") if "nodeName" in pod["spec"]]


def writes(requests: list[Manifest], namespace: Namespace, service: str = "") -> list[str]:
    """What was written in `namespace`, of objects whose names begin so."""
    return [
        f"{entry['verb']} {entry['objectRef']['resource']}"
        for entry in requests
        if is_write(entry)
        and entry["objectRef"].get("namespace") == namespace.name
        and entry["objectRef"].get("name", "").startswith(service)
    ]


def test_ten_pods_wait_for_the_tenth_place_and_then_start_together(namespace: Namespace, audit: AuditLog) -> None:
    name = "qwen-inference-service"
    namespace.make_nodes(8, 8, 8, 8, 4)
    namespace.apply(the_story(namespace))
    namespace.wait(
        lambda: namespace.condition(name, "Scheduled"), lambda c: "9 fit" in c.get("message", ""), "9 to fit"
    )
    with audit.requests_of(VOLCANO) as bindings, audit.requests_of(OPERATOR) as requests:
        time.sleep(10)

    assert len(namespace.list("podgroups")) == 1
    assert asked(namespace, name) == (10, [2, 1])
    assert [entry for entry in bindings if entry["objectRef"].get("subresource") == "binding"] == []
    assert bound(namespace) == []
    assert writes(requests, namespace) == []
    scheduled, ready = namespace.condition(name, "Scheduled"), namespace.condition(name, "Ready")
    for words in (
        "0 of its 10 pods are bound: it needs 10 pods x 4 nvidia.com/gpu, of which 9 fit; 4 nvidia.com/gpu short for ",
        "with gang.mode MinReplicas these copies would start now: 1 of prefill-servers and 1 of decode-servers",
    ):
        assert words in scheduled["message"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "GangInqueue", scheduled["message"])

    started = time.monotonic()
    namespace.make_nodes(8)
    namespace.wait_reason(name, "Scheduled", "Scheduled", 20)
    print(f"Scheduled {time.monotonic() - started:.2f} s after the node")
    status = json.dumps(namespace.wait_ready(name)["status"])
    assert len(bound(namespace)) == 10
    conditions = namespace.get("podgroup", name)["status"]["conditions"]
    assert {"Unschedulable", "Scheduled"} == {condition["type"] for condition in conditions}
    assert "Unschedulable" not in status


def test_both_sides_start_together_each_on_its_kind_of_node_and_the_router_by_itself(
    namespace: Namespace, audit: AuditLog
) -> None:
    """The proposal's second story, whole."""
    name = "qwen-inference-service"
    namespace.make_nodes(8, 8, 8, 8, gpu="a100")
    namespace.make_nodes(4, gpu="l4")
    service = the_story(namespace)
    prefill, decode = service["spec"]["roles"]
    prefill["template"]["spec"]["nodeSelector"]["gpu"] = "a100"
    decode["template"]["spec"]["nodeSelector"]["gpu"] = "l4"
    router = {"name": "entry", "componentType": "router", "strategy": "pd-disaggregation", "template": {"spec": KWOK}}
    service["spec"]["roles"] = [router, prefill, decode]
    with audit.requests_of(OPERATOR) as requests:
        namespace.apply(service)
        namespace.wait(
            lambda: namespace.condition(name, "Scheduled"), lambda c: "9 fit" in c.get("message", ""), "9 to fit"
        )
        of_the_router = [pod for pod in bound(namespace) if pod.startswith(f"{name}-entry-")]
        assert len(of_the_router) == 1
        assert bound(namespace) == of_the_router
        namespace.make_nodes(4, gpu="l4")
        namespace.wait_ready(name)

    assert asked(namespace, name) == (10, [2, 1])
    kinds = {node["metadata"]["name"]: node["metadata"]["labels"].get("gpu", "") for node in namespace.list("nodes")}
    sides = Counter(
        (pod["metadata"]["labels"]["fusioninfer.io/role"], kinds[pod["spec"]["nodeName"]])
        for pod in namespace.list("pods")
        if pod["metadata"]["name"] not in of_the_router
    )
    assert sides == {("prefill-servers", "a100"): 8, ("decode-servers", "l4"): 2}
    assert namespace.condition(name, "RouterReady")["reason"] == "Routing"
    written = Counter(writes(requests, namespace))
    del written["patch inferenceservices"]  # it waited for the second node, and said so
    del written["patch events"]
    assert sum(written.values()) == 9, written


def test_a_whole_service_is_ready_in_thirteen_writes_where_there_is_room(namespace: Namespace, audit: AuditLog) -> None:
    namespace.make_nodes(8, 8, 8, 8, 8)
    service = the_story(namespace)
    service["spec"]["roles"].append({"name": "entry", "componentType": "router", "template": {"spec": KWOK}})
    with audit.requests_of(OPERATOR) as requests:
        namespace.apply(service)
        namespace.wait_ready("qwen-inference-service")

    mine = [entry for entry in requests if is_write(entry) and entry["objectRef"].get("namespace") == namespace.name]
    moments = sorted(datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in mine)
    # Reasons are told every 2 s: a machine so slow that ten pods take longer hears of them in between.
    in_between = (moments[-1] - moments[0]).total_seconds() // 2
    assert len(mine) <= 13 + in_between, Counter(writes(requests, namespace))


@pytest.mark.side_by_side
def test_the_kind_of_node_that_is_short_is_named(namespace: Namespace) -> None:
    namespace.make_nodes(8, 8, kind="big")
    namespace.make_nodes(8, kind="small")
    roles = [
        a_role(namespace, "prefill", nodes=2, componentType="prefiller"),
        a_role(namespace, "decode", replicas=2, componentType="decoder"),
    ]
    for role, kind in zip(roles, ("big", "small"), strict=True):
        role["template"]["spec"]["nodeSelector"]["kind"] = kind
    namespace.apply(a_gang("mixed", *roles))

    scheduled = namespace.wait(
        lambda: namespace.condition("mixed", "Scheduled"), lambda c: "3 fit" in c.get("message", ""), "3 of 4 to fit"
    )
    assert "8 nvidia.com/gpu short for decode on nodes with " in scheduled["message"]
    assert "kind=small" in scheduled["message"]
    assert "kind=big" not in scheduled["message"]
    assert bound(namespace) == []

    namespace.make_nodes(8, kind="small")
    namespace.wait_ready("mixed")


def test_a_gang_takes_two_writes_more_and_none_at_rest(namespace: Namespace, audit: AuditLog) -> None:
    namespace.make_nodes(*6 * [8])
    made, grown = dict[str, list[str]](), dict[str, list[str]]()
    for name in ("alone", "gang"):
        service = a_gang(
            name,
            a_role(namespace, "prefill", nodes=2, componentType="prefiller"),
            decode := a_role(namespace, "decode", replicas=2, componentType="decoder"),
        )
        if name == "alone":
            del service["spec"]["schedulingStrategy"]
        with audit.requests_of(OPERATOR) as creating:
            namespace.apply(service)
            namespace.wait_ready(name)
        decode["replicas"] = 4
        with audit.requests_of(OPERATOR) as growing:
            namespace.apply(service)
            namespace.wait_ready(name)
        made[name], grown[name] = writes(creating, namespace, name), writes(growing, namespace, name)
        if name == "alone":
            namespace("delete", "inferenceservice", name)
            namespace.wait(lambda: bound(namespace), lambda pods: pods == [], "its pods to end")

    assert len(made["gang"]) <= len(made["alone"]) + 2, made
    assert len(grown["gang"]) <= len(grown["alone"]) + 1, grown
    with audit.requests_of(OPERATOR) as resting:
        time.sleep(10)
    assert writes(resting, namespace) == []


@pytest.mark.side_by_side
def test_a_queue_that_does_not_exist_is_named_and_taken_once_it_does(namespace: Namespace) -> None:
    queue = f"{namespace.name}-q"
    namespace.make_nodes(8, 8)
    strategy = {"queue": queue, "priorityClassName": "system-cluster-critical"}
    namespace.apply(a_gang("queued", a_role(namespace, replicas=2), **strategy))

    scheduled = namespace.wait_reason("queued", "Scheduled", "GangPending")
    assert f"see that its scheduler runs, and that queue {queue!r} exists and is Open" in scheduled["message"]
    group = namespace.get("podgroup", "queued")
    assert {key: group["spec"][key] for key in strategy} == strategy
    assert asked(namespace, "queued") == (2, [2])
    assert bound(namespace) == []

    with a_queue(namespace, queue):
        namespace.wait_ready("queued")


@contextmanager
def a_queue(namespace: Namespace, name: str) -> Iterator[None]:
    """A queue of Volcano's, which no namespace holds."""
    kind = {"apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "Queue"}
    namespace.kubectl.apply([{**kind, "metadata": {"name": name}, "spec": {"weight": 1}}])
    try:
        yield
    finally:
        namespace.kubectl("delete", "queue", name, "--wait=false")


def test_pods_that_somebody_takes_into_another_gang_start_one_by_one(namespace: Namespace) -> None:
    namespace.make_nodes(8, 8)
    namespace.apply(a_gang("astray", a_role(namespace, replicas=2)))
    namespace.wait_ready("astray")

    namespace("annotate", "pod", "astray-inference-1", "--overwrite", "scheduling.k8s.io/group-name=theirs")

    scheduled = namespace.wait_reason("astray", "Scheduled", "GangOverridden")
    assert scheduled["status"] == "False"
    assert "pod astray-inference-1 was put into gang 'theirs' instead of 'astray'" in scheduled["message"]
    wait_asked(namespace, "astray", 1, 0)

    namespace("delete", "pod", "astray-inference-1", "--wait=false")
    wait_asked(namespace, "astray", 2, 2)
    namespace.wait_ready("astray")


@pytest.mark.side_by_side
def test_a_strangers_pod_group_is_left_alone_and_nothing_starts_without_one(namespace: Namespace) -> None:
    kind = {"apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "PodGroup"}
    namespace.apply({**kind, "metadata": {"name": "taken"}, "spec": {"minMember": 7}})
    namespace.make_nodes(8)

    namespace.apply(a_gang("taken", a_role(namespace)))

    accepted = namespace.wait_reason("taken", "Accepted", "NameConflict")
    assert accepted["status"] == "False"
    assert "PodGroup 'taken' belongs to somebody else" in accepted["message"]
    assert namespace.list("statefulsets") == []
    assert namespace.get("podgroup", "taken")["spec"]["minMember"] == 7

    namespace("delete", "podgroup", "taken")
    namespace.wait_ready("taken")
    assert asked(namespace, "taken") == (1, [1])


def test_a_webhook_that_does_not_answer_holds_up_its_own_namespace_alone(
    namespace: Namespace, request: pytest.FixtureRequest
) -> None:
    namespace.make_nodes(8)
    with a_namespace(namespace.kubectl, "other") as other:
        other.make_nodes(8)
        with a_dead_webhook(namespace):
            namespace.apply(a_gang("held", a_role(namespace)))
            ready = namespace.wait_reason("held", "Ready", "WebhookDown")
            assert f"{namespace.name}.example.com" in ready["message"]
            assert namespace.list("statefulsets") == []
            started = time.monotonic()
            other.apply(a_gang("free", a_role(other)))
            other.wait_ready("free")
            assert time.monotonic() - started < 5
        namespace.wait_ready("held", 15)


@contextmanager
def a_dead_webhook(namespace: Namespace) -> Iterator[None]:
    """An admission webhook for the PodGroups of `namespace`, which nobody serves."""
    webhook = {
        "name": f"{namespace.name}.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
        "rules": [
            {
                "apiGroups": ["scheduling.volcano.sh"],
                "apiVersions": ["*"],
                "resources": ["podgroups"],
                "operations": ["CREATE", "UPDATE"],
            }
        ],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    namespace.kubectl.apply([{**kind, "metadata": {"name": namespace.name}, "webhooks": [webhook]}])
    try:
        yield
    finally:
        namespace.kubectl("delete", "validatingwebhookconfiguration", namespace.name)


@pytest.mark.parametrize("least", [None, {"prefill": 1, "decode": 1}], ids=["all", "one of each"])
def test_a_service_that_lost_a_node_and_all_of_its_pods(least: dict[str, int] | None, namespace: Namespace) -> None:
    """With all of its copies in the gang it waits for a new node; else it serves with what there is room for."""
    lost, *others = namespace.make_nodes(*6 * [8])
    mode = {"mode": "MinReplicas", "minReplicas": least} if least else {"mode": "All"}
    service = a_gang(
        "hurt",
        a_role(namespace, "prefill", nodes=2, replicas=2, componentType="prefiller"),
        a_role(namespace, "decode", replicas=2, componentType="decoder"),
        gang=mode,
    )
    namespace.apply(service)
    namespace.wait_ready("hurt")

    namespace.kubectl("cordon", *others)
    namespace.kubectl("delete", "node", lost)
    namespace("delete", "pods", "--all", "--force", "--wait=false")
    namespace.wait(
        lambda: (len(namespace.list("pods")), bound(namespace)), lambda seen: seen == (6, []), "six new pods", 60
    )
    namespace.wait(lambda: namespace.condition("hurt", "Available"), lambda c: c["status"] == "False", "it to be told")
    namespace.kubectl("uncordon", *others)

    if least is None:
        scheduled = namespace.wait(
            lambda: namespace.condition("hurt", "Scheduled"), lambda c: "5 fit" in c.get("message", ""), "5 to fit"
        )
        assert (scheduled["status"], scheduled["reason"]) == ("False", "GangInqueue")
        assert "6 pods x 8 nvidia.com/gpu, of which 5 fit; 8 nvidia.com/gpu short for " in scheduled["message"]
        assert namespace.condition("hurt", "Available")["status"] == "False"
        assert bound(namespace) == []
        namespace.make_nodes(8)
        namespace.wait_ready("hurt")
    else:
        components = namespace.wait(
            lambda: namespace.service("hurt")["status"]["components"],
            lambda parts: all(part["readyReplicas"] for part in parts.values()),
            "a copy of each role",
        )
        assert sum(part["readyPods"] for part in components.values()) >= 3
        assert namespace.condition("hurt", "Available")["status"] == "True"
        assert namespace.condition("hurt", "Ready")["status"] == "False"
