"""Many copies, other writers, strangers and deletions, on nodes that are played."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import Any

import pytest

from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import AuditLog, Manifest, Namespace, a_service, is_write, nothing_runs
from tools.operator_process import Complaint

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def component(namespace: Namespace, name: str) -> Manifest:
    found: Manifest = namespace.service(name).get("status", {}).get("components", {}).get("inference", {})
    return found


def wait_for_copies(namespace: Namespace, name: str, replicas: int) -> None:
    """Until the status says that so many copies are wanted and ready."""
    wanted = (replicas, replicas)
    namespace.wait(
        lambda: component(namespace, name),
        lambda c: (c.get("desiredReplicas"), c.get("readyReplicas")) == wanted,
        f"{replicas} copies",
    )


def wait_for_pods(namespace: Namespace, number: int) -> None:
    """Until there are so many pods, whatever state they are in."""
    namespace.wait(lambda: namespace.list("pods"), lambda pods: len(pods) == number, f"{number} pods")


def test_fifty_pods_come_go_and_come_back(namespace: Namespace) -> None:
    for replicas in (50, 0, 50):
        namespace.apply(a_service("many", template=nothing_runs(), replicas=replicas))
        status = namespace.wait_ready("many", 120)["status"]
        # A StatefulSet controller that makes pods anew while those of the same names still end fails once per pod that
        # ends, and waits twice as long after each failure: minutes, where many pods end slowly.
        wait_for_pods(namespace, replicas)

        assert status["components"]["inference"]["readyReplicas"] == replicas
        available = next(c for c in status["conditions"] if c["type"] == "Available")
        assert available["status"] == ("True" if replicas else "False")


@pytest.mark.parametrize("replicas", [1, 50])
def test_a_service_gets_ready_in_four_writes(replicas: int, namespace: Namespace, audit: AuditLog) -> None:
    with audit.requests_of(OPERATOR) as requests:
        namespace.apply(a_service("few", template=nothing_runs(), replicas=replicas))
        namespace.wait_ready("few", 120)

    mine = [entry for entry in requests if entry["objectRef"].get("namespace") == namespace.name and is_write(entry)]
    moments = sorted(datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in mine)
    # Reasons are told every 2 s: a machine so slow that 50 pods take longer hears of them in between.
    in_between = (moments[-1] - moments[0]).total_seconds() // 2
    assert len(mine) <= 4 + in_between, [f"{entry['verb']} {entry['objectRef']['resource']}" for entry in mine]


@pytest.mark.side_by_side
def test_a_writer_of_scale_is_not_fought(namespace: Namespace) -> None:
    namespace.apply(a_service("scaled", template=nothing_runs()))
    namespace.wait_ready("scaled")

    for replicas in (4, 2):
        namespace("scale", "statefulset", "scaled-inference", f"--replicas={replicas}")
        wait_for_copies(namespace, "scaled", replicas)
        assert namespace.wait_ready("scaled")["status"]["components"]["inference"]["desiredReplicas"] == replicas
        assert namespace.get("statefulset", "scaled-inference")["spec"]["replicas"] == replicas


@pytest.mark.side_by_side
def test_replicas_that_are_given_are_ours(namespace: Namespace) -> None:
    namespace.apply(a_service("given", template=nothing_runs(), replicas=2))
    namespace.wait_ready("given")

    namespace("scale", "statefulset", "given-inference", "--replicas=5")

    namespace.wait(
        lambda: namespace.get("statefulset", "given-inference")["spec"]["replicas"], lambda r: r == 2, "2 again"
    )


@pytest.mark.side_by_side
def test_replicas_given_and_then_left_out_keep_their_number(namespace: Namespace) -> None:
    namespace.apply(a_service("handed", template=nothing_runs(), replicas=3))
    namespace.wait_ready("handed")

    namespace.apply(a_service("handed", template=nothing_runs()))
    assert namespace.wait_ready("handed")["status"]["components"]["inference"]["desiredReplicas"] == 3

    namespace("scale", "statefulset", "handed-inference", "--replicas=1")
    namespace.wait(lambda: component(namespace, "handed"), lambda c: c.get("desiredReplicas") == 1, "1 copy")
    assert namespace.wait_ready("handed")["status"]["components"]["inference"]["readyReplicas"] == 1


@pytest.mark.side_by_side
def test_deleting_a_service_removes_its_own_and_nothing_else(namespace: Namespace) -> None:
    others: list[Manifest] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone"}},
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "gone-inference", "labels": {"fusioninfer.io/service": "gone"}},
            "spec": {"ports": [{"port": 1}]},
        },
    ]  # fmt: skip
    namespace.apply(*others, a_service("gone", template=nothing_runs(), replicas=2))
    namespace.wait_ready("gone")

    namespace("delete", "inferenceservice", "gone", "--cascade=foreground", "--timeout=60s")

    assert [sts["metadata"]["name"] for sts in namespace.list("statefulsets")] == []
    assert [service["metadata"]["name"] for service in namespace.list("services")] == ["gone-inference"]
    assert "gone" in [config["metadata"]["name"] for config in namespace.list("configmaps")]


STRANGERS: dict[str, Manifest] = {
    "service": {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"},
        "spec": {"ports": [{"port": 1}], "selector": {"app": "web"}},
    },
    "statefulset": {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "taken-inference"},
        "spec": {
            "replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "db"}]},
            },
        },
    },
}  # fmt: skip


@pytest.mark.side_by_side
@pytest.mark.parametrize("kind", STRANGERS)
def test_a_strangers_object_with_our_name_is_left_alone(kind: str, namespace: Namespace) -> None:
    stranger = STRANGERS[kind]
    name = stranger["metadata"]["name"]
    namespace.apply(stranger)
    before = namespace.get(kind, name)

    namespace.apply(a_service("taken", template=nothing_runs()))

    accepted = namespace.wait_reason("taken", "Accepted", "NameConflict")
    assert f"{name!r} belongs to" in accepted["message"]
    assert namespace.condition("taken", "Ready")["reason"] == "NameConflict"
    assert namespace.get(kind, name) == before
    namespace("delete", kind, name)
    namespace.wait_ready("taken", 30)


@pytest.mark.side_by_side
def test_two_services_that_want_one_name_do_not_share_it(namespace: Namespace) -> None:
    def named(service: str, role: str) -> Manifest:
        manifest = a_service(service, template=nothing_runs())
        manifest["spec"]["roles"][0]["name"] = role
        return manifest

    namespace.apply(named("a", "b-c"))
    namespace.wait_ready("a")
    namespace.apply(named("a-b", "c"))

    accepted = namespace.wait_reason("a-b", "Accepted", "NameConflict")
    assert "StatefulSet 'a-b-c' belongs to InferenceService 'a'" in accepted["message"]
    assert namespace.get("statefulset", "a-b-c")["metadata"]["labels"]["fusioninfer.io/service"] == "a"
    assert namespace.condition("a", "Ready")["status"] == "True"


@pytest.mark.side_by_side
def test_a_renamed_role_leaves_nothing_behind(namespace: Namespace) -> None:
    service = a_service("renamed", template=nothing_runs(), replicas=1)
    namespace.apply(service)
    namespace.wait_ready("renamed")

    service["spec"]["roles"][0]["name"] = "chat"
    namespace.apply(service)

    status = namespace.wait_ready("renamed")["status"]
    assert list(status["components"]) == ["chat"]
    names = namespace.wait(
        lambda: [s["metadata"]["name"] for s in namespace.list("statefulsets")], lambda n: len(n) == 1, "one"
    )
    assert names == ["renamed-chat"]


@pytest.mark.side_by_side
def test_orphans_are_taken_back_without_a_restart(namespace: Namespace) -> None:
    namespace.apply(a_service("orphaned", template=nothing_runs(), replicas=1))
    namespace.wait_ready("orphaned")
    before = namespace.get("pod", "orphaned-inference-0")["metadata"]["uid"]

    namespace("delete", "inferenceservice", "orphaned", "--cascade=orphan")
    assert "ownerReferences" not in namespace.get("statefulset", "orphaned-inference")["metadata"]
    namespace.apply(a_service("orphaned", template=nothing_runs(), replicas=1))

    service = namespace.wait_ready("orphaned")
    owners = namespace.get("statefulset", "orphaned-inference")["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == [service["metadata"]["uid"]]
    assert namespace.get("pod", "orphaned-inference-0")["metadata"]["uid"] == before


@pytest.mark.side_by_side
def test_a_paused_service_is_watched_and_not_touched(namespace: Namespace) -> None:
    service = a_service("paused", template=nothing_runs(), replicas=1)
    namespace.apply(service)
    namespace.wait_ready("paused")

    service["spec"]["paused"] = True
    service["spec"]["roles"][0]["replicas"] = 3
    namespace.apply(service)

    namespace.wait_reason("paused", "Progressing", "Paused")
    assert namespace.condition("paused", "Ready")["status"] == "False"
    assert namespace.get("statefulset", "paused-inference")["spec"]["replicas"] == 1
    service["spec"]["paused"] = False
    namespace.apply(service)
    assert namespace.wait_ready("paused")["status"]["components"]["inference"]["readyReplicas"] == 3


def test_a_child_that_is_deleted_is_made_again(namespace: Namespace) -> None:
    namespace.apply(a_service("healed", template=nothing_runs(), replicas=1))
    namespace.wait_ready("healed")
    before = namespace.get("service", "healed")["metadata"]["uid"]

    namespace("delete", "service", "healed", "--wait=true")

    def uid() -> Any:
        try:
            return namespace.get("service", "healed")["metadata"]["uid"]
        except Complaint:
            return None

    assert namespace.wait(uid, lambda found: found is not None, "the Service again", 5) != before


def test_touching_a_service_writes_nothing(namespace: Namespace, audit: AuditLog) -> None:
    namespace.apply(a_service("touched", template=nothing_runs(), replicas=1))
    namespace.wait_ready("touched")
    namespace("wait", "--for=jsonpath={.status.observedGeneration}=1", "statefulset/touched-inference")

    with audit.requests_of(OPERATOR) as requests:
        for number in range(3):
            namespace("annotate", "inferenceservice", "touched", "--overwrite", f"touched={number}")
            namespace("label", "statefulset", "touched-inference", "--overwrite", f"touched={number}")

    mine = [entry for entry in requests if entry["objectRef"].get("namespace") == namespace.name]
    assert mine == [], json.dumps(mine)[:2000]


@pytest.mark.side_by_side
def test_a_refused_spec_says_so_and_leaves_what_runs(namespace: Namespace) -> None:
    service = a_service("refused", template=nothing_runs(), replicas=1)
    namespace.apply(service)
    namespace.wait_ready("refused")

    service["spec"]["disaggregation"] = {"connector": "nixl"}
    namespace.apply(service)

    accepted = namespace.wait_reason("refused", "Accepted", "InvalidSpec")
    assert accepted["message"].startswith("spec.disaggregation: ")
    assert namespace.condition("refused", "Available")["status"] == "True"
    assert namespace.condition("refused", "Stalled")["status"] == "True"
    assert namespace.get("statefulset", "refused-inference")["spec"]["replicas"] == 1


@pytest.mark.side_by_side
def test_a_template_that_the_api_server_refuses_is_told_in_its_words(namespace: Namespace) -> None:
    template = nothing_runs()
    template["spec"]["restartPolicy"] = "Never"
    namespace.apply(a_service("wrong", template=template, replicas=1))

    accepted = namespace.wait_reason("wrong", "Accepted", "Refused")
    assert "StatefulSet wrong-inference" in accepted["message"]
    assert "spec.template.spec.restartPolicy" in accepted["message"]


@pytest.mark.side_by_side
def test_no_progress_for_too_long_is_said_and_taken_back(namespace: Namespace) -> None:
    nowhere = nothing_runs()
    nowhere["spec"]["nodeSelector"] = {"no": "such-node"}
    namespace.apply(a_service("late", template=nowhere, replicas=1, progressDeadlineSeconds=3))

    progressing = namespace.wait_reason("late", "Progressing", "ProgressDeadlineExceeded", 20)
    assert progressing["status"] == "False"
    assert "has not progressed for 3 s" in namespace.condition("late", "Ready")["message"]
    assert component(namespace, "late")["phase"] == "Failed"

    namespace.apply(a_service("late", template=nothing_runs(), replicas=1, progressDeadlineSeconds=3))
    namespace.wait_ready("late")


@pytest.mark.side_by_side
def test_a_quota_is_named_and_a_raised_one_is_seen(namespace: Namespace) -> None:
    def quota(sets: int) -> Manifest:
        hard = {"count/statefulsets.apps": str(sets)}
        return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}

    namespace.apply(quota(0))
    namespace.wait(lambda: namespace.get("resourcequota", "few").get("status", {}), lambda s: "used" in s, "the quota")

    namespace.apply(a_service("limited", template=nothing_runs(), replicas=1))

    ready = namespace.wait_reason("limited", "Ready", "QuotaExceeded")
    assert "exceeded quota: few" in ready["message"]
    namespace.apply(quota(1))
    namespace.wait_ready("limited", 20)


@pytest.mark.side_by_side
def test_a_service_in_a_namespace_that_is_deleted_goes_quietly(namespace: Namespace, audit: AuditLog) -> None:
    namespace.apply(a_service("leaving", template=nothing_runs(), replicas=2))
    namespace.wait_ready("leaving")

    with audit.requests_of(OPERATOR) as requests:
        namespace.kubectl("delete", "namespace", namespace.name, "--timeout=60s")

    mine = [entry for entry in requests if entry["objectRef"].get("namespace") == namespace.name]
    assert len(mine) <= 12, [f"{entry['verb']} {entry['objectRef'].get('resource')}" for entry in mine]
    namespace.kubectl("create", "namespace", namespace.name)


def test_a_status_lands_although_somebody_edits_the_object_all_the_time(namespace: Namespace) -> None:
    namespace.apply(a_service("edited", template=nothing_runs(), replicas=1))
    namespace.wait_ready("edited")
    stop = threading.Event()

    def edit() -> None:
        number = 0
        while not stop.wait(0.02):
            namespace("annotate", "inferenceservice", "edited", "--overwrite", f"n={(number := number + 1)}")

    editors = [threading.Thread(target=edit) for _ in range(2)]
    for editor in editors:
        editor.start()
    try:
        namespace("patch", "inferenceservice", "edited", "--type=json", "-p", TWO_COPIES)
        status = namespace.wait_ready("edited", 10)["status"]
    finally:
        stop.set()
        for editor in editors:
            editor.join()
    assert status["components"]["inference"]["readyReplicas"] == 2


TWO_COPIES = '[{"op": "replace", "path": "/spec/roles/0/replicas", "value": 2}]'
