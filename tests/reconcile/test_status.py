"""What a status says, when it is written, and that nothing in it moves by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.api.types import Condition, InferenceServiceStatus
from fusioninfer.build.desired import desired_objects
from fusioninfer.kube import errors
from fusioninfer.reconcile.apply import Failure, Outcome
from fusioninfer.reconcile.facts import facts_of
from fusioninfer.reconcile.phases import Seen
from fusioninfer.reconcile.plan import NameTaken, plan_changes
from fusioninfer.reconcile.snapshot import Snapshot
from fusioninfer.reconcile.status import AT_ONCE, COUNTS, JOINED, REASONS, patience, status_of, status_of_refused
from tests import make

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def status(
    *pods: Manifest,
    role: Manifest | None = None,
    live: dict[str, Any] | None = None,
    outcome: Outcome | None = None,
    previous: InferenceServiceStatus | None = None,
    now: datetime = NOON,
    **spec: Any,
) -> InferenceServiceStatus:
    """The status of a service whose children stand as applied and whose pods are `pods`."""
    raw = make.raw_service(role or make.a_role(), **spec)
    desired = desired_objects(parse(raw), make.ENGINES)
    entry, workload = desired.manifests
    children = (make.applied(entry), {**make.applied(workload), **(live or {})})
    return status_in(make.a_snapshot(raw, children=children, pods=pods), outcome, previous, now)


def status_in(
    snapshot: Snapshot,
    outcome: Outcome | None = None,
    previous: InferenceServiceStatus | None = None,
    now: datetime = NOON,
) -> InferenceServiceStatus:
    """The status of the service in `snapshot`."""
    service = parse(snapshot.service.raw)
    desired = desired_objects(service, make.ENGINES)
    facts = facts_of(desired, snapshot)
    return status_of(Seen(facts, plan_changes(desired, snapshot), outcome or Outcome(), now, previous))


def conditions(status: InferenceServiceStatus) -> dict[str, Condition]:
    return {condition.type: condition for condition in status.conditions}


def answers(status: InferenceServiceStatus) -> dict[str, str]:
    return {kind: f"{condition.status}/{condition.reason}" for kind, condition in conditions(status).items()}


def test_a_service_whose_copies_all_answer_is_ready() -> None:
    ready = status(make.a_ready_pod())

    assert answers(ready) == {
        "Accepted": "True/Accepted",
        "Scheduled": "True/Scheduled",
        "WorkloadsReady": "True/AllReplicasReady",
        "RouterReady": "True/NotRequested",
        "Available": "True/Serving",
        "Progressing": "False/RolledOut",
        "Degraded": "False/AsExpected",
        "Ready": "True/Ready",
    }
    component = ready.components["inference"]
    assert (component.phase, component.readyReplicas, component.updatedReplicas, component.totalPods) == (
        "Running",
        1,
        1,
        1,
    )
    assert ready.url == "http://qwen.default.svc"


UNSCHEDULABLE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
}  # fmt: skip
ENDED = {
    "terminated": {
        "exitCode": 3,
        "reason": "Error",
        "message": "CUDA error: no device\n",
        "finishedAt": "2026-11-24T11:59:00Z",
    }
}


def running(index: int = 0, **fields: Any) -> Manifest:
    container = {"name": "engine", "state": {"running": {"startedAt": "2026-11-24T11:58:00Z"}}, **fields}
    return {**make.a_pod(index, containerStatuses=[container], phase="Running"), "spec": {"nodeName": "local"}}


@pytest.mark.parametrize(
    ("pod", "reason", "words", "phase"),
    [
        pytest.param(
            make.a_waiting_pod(reason="ImagePullBackOff", message="Back-off pulling image none:1"),
            "ImagePullBackOff", "Back-off pulling image none:1", "Failed", id="image",
        ),
        pytest.param(
            make.a_waiting_pod(reason="CreateContainerConfigError", message='secret "hf" not found'),
            "CreateContainerConfigError", 'secret "hf" not found', "Failed", id="secret missing",
        ),
        pytest.param(
            make.a_waiting_pod(reason="CrashLoopBackOff", restartCount=4, lastState=ENDED),
            "CrashLoopBackOff", "ended with exit code 3, 4 restarts; its last words: CUDA error: no device", "Failed",
            id="crash",
        ),
        pytest.param(
            make.a_pod(conditions=[UNSCHEDULABLE]), "Unschedulable", "5 Insufficient nvidia.com/gpu", "Pending",
            id="no room",
        ),
        pytest.param(
            running(started=False), "StartupProbePending", "has not passed since 2026-11-24T11:58:00Z", "Deploying",
            id="loading",
        ),
        pytest.param(
            running(started=True), "ReadinessProbeFailing", "readiness probe does not pass", "Deploying", id="probe"
        ),
        pytest.param(
            running(started=False, restartCount=2, lastState={"terminated": {"exitCode": 137, "reason": "Error"}}),
            "ContainerCrashed", "as the kubelet does when startup or liveness probes do not pass", "Failed",
            id="killed",
        ),
        pytest.param(
            make.a_pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            "Evicted", "low on resource: memory", "Failed", id="evicted",
        ),
    ],
)  # fmt: skip
def test_ready_names_the_cause_of_a_pod_that_does_not_come_up(
    pod: Manifest, reason: str, words: str, phase: str
) -> None:
    broken = status(pod)

    ready = conditions(broken)["Ready"]
    assert (ready.status, ready.reason) == ("False", reason)
    assert words in ready.message
    assert "role inference" in ready.message
    assert "qwen-inference-0" in ready.message
    assert broken.components["inference"].phase == phase
    assert ("Stalled" in conditions(broken)) == (phase == "Failed")


def test_scheduled_says_how_many_pods_of_how_many_have_a_node() -> None:
    waiting = status(make.a_ready_pod(0), make.a_pod(1, conditions=[UNSCHEDULABLE]), role=make.a_role(replicas=2))

    scheduled = conditions(waiting)["Scheduled"]
    assert scheduled.status == "False"
    assert scheduled.message.startswith("1 of 2 pods are bound; without a node: 1 pod; the scheduler says: 0/5 nodes")
    assert conditions(waiting)["Available"].status == "True"


def test_a_crash_is_remembered_when_its_pod_is_gone() -> None:
    crashed = status(make.a_waiting_pod(reason="CrashLoopBackOff", restartCount=4, lastState=ENDED))

    healed = status(make.a_ready_pod(), previous=crashed, now=NOON + timedelta(minutes=5))

    failure = healed.components["inference"].lastFailure
    assert isinstance(failure, msgspec.Struct)
    assert msgspec.to_builtins(failure) == {
        "time": "2026-11-24T11:59:00Z", "pod": "qwen-inference-0", "container": "engine", "reason": "Error",
        "message": "CUDA error: no device", "exitCode": 3, "count": 4,
    }  # fmt: skip
    assert answers(healed)["Ready"] == "True/Ready"


def test_an_older_crash_of_another_pod_does_not_replace_a_later_one() -> None:
    later = make.a_waiting_pod(reason="CrashLoopBackOff", restartCount=4, lastState=ENDED)
    first = status(later)
    long_ago = {"terminated": {**ENDED["terminated"], "finishedAt": "2026-11-24T08:00:00Z", "exitCode": 1}}
    older = make.a_waiting_pod(1, reason="CrashLoopBackOff", restartCount=1, lastState=long_ago)

    failure = status(older, previous=first).components["inference"].lastFailure

    assert not isinstance(failure, msgspec.UnsetType)
    assert failure.exitCode == 3


def test_times_stand_still_while_nothing_changes() -> None:
    before = status(make.a_ready_pod())

    assert status(make.a_ready_pod(), previous=before, now=NOON + timedelta(hours=1)) == before


def test_a_transition_time_moves_only_with_its_condition() -> None:
    before = conditions(status(make.a_pod()))
    after = conditions(status(make.a_ready_pod(), previous=status(make.a_pod()), now=NOON + timedelta(hours=1)))

    assert after["Accepted"].lastTransitionTime == before["Accepted"].lastTransitionTime == "2026-11-24T12:00:00Z"
    assert after["Ready"].lastTransitionTime == "2026-11-24T13:00:00Z"


def test_old_copies_go_on_counting_as_available_through_a_rollout() -> None:
    rolling = status(make.a_ready_pod(revision="rev-0"))

    assert answers(rolling)["Available"] == "True/Serving"
    assert answers(rolling)["Progressing"] == "True/RollingOut"
    assert answers(rolling)["Ready"] == "False/RollingOut"
    assert answers(rolling)["Degraded"] == "False/AsExpected"


def test_a_controller_that_has_not_seen_the_spec_yet_makes_no_service_ready() -> None:
    unseen = status(make.a_ready_pod(), live={"status": {"observedGeneration": 0, "updateRevision": "rev-1"}})

    assert answers(unseen)["Ready"] == "False/RollingOut"


def test_a_copy_that_stops_answering_degrades_the_service() -> None:
    degraded = status(make.a_ready_pod(0), running(started=True), role=make.a_role(replicas=2))

    assert answers(degraded)["Degraded"] == "True/ReadinessProbeFailing"


def test_zero_copies_are_ready_and_not_available() -> None:
    zero = answers(status(role=make.a_role(replicas=0)))

    assert zero["Ready"] == "True/ScaledToZero"
    assert zero["Available"] == "False/ScaledToZero"
    assert zero["Scheduled"] == "True/ScaledToZero"


def test_zero_copies_are_not_ready_while_one_still_runs() -> None:
    assert answers(status(make.a_ready_pod(), role=make.a_role(replicas=0)))["Ready"].startswith("False/")


def test_no_progress_for_too_long_is_a_failure() -> None:
    role = make.a_role(progressDeadlineSeconds=60)
    before = status(running(started=False), role=role)

    late = status(running(started=False), role=role, previous=before, now=NOON + timedelta(seconds=60))

    assert answers(late)["Progressing"] == "False/ProgressDeadlineExceeded"
    assert "has not progressed for 60 s" in conditions(late)["Ready"].message
    assert late.components["inference"].phase == "Failed"
    almost = status(running(started=False), role=role, previous=before, now=NOON + timedelta(seconds=59))
    assert answers(almost)["Progressing"] == "True/Recovering"


def test_paused_changes_are_counted_and_keep_the_service_from_being_ready() -> None:
    changed = status(make.a_ready_pod(), paused=True)
    assert answers(changed)["Progressing"] == "False/Paused"
    assert answers(changed)["Ready"] == "True/Ready"

    live = {
        "metadata": {**make.applied(make.desired().manifests[1])["metadata"], "annotations": {names.APPLIED: "other"}}
    }
    waiting = status(make.a_ready_pod(), live=live, paused=True)
    assert conditions(waiting)["Ready"].message == "spec.paused is true; 1 changes wait"


def said(code: int, message: str) -> errors.ApiError:
    return errors.error_from(code, msgspec.json.encode({"code": code, "message": message}))


@pytest.mark.parametrize(
    ("error", "reason", "accepted"),
    [
        pytest.param(said(422, 'image: Required value'), "Refused", "False", id="refused"),
        pytest.param(said(500, "failed to create typed patch object (x): boom"), "Refused", "False", id="typed patch"),
        pytest.param(said(403, "exceeded quota: few, requested: count/pods=1"), "QuotaExceeded", "True", id="quota"),
        pytest.param(said(403, 'User "x" cannot patch resource "statefulsets"'), "RBACDenied", "True", id="no right"),
        pytest.param(said(403, "policy says no"), "AdmissionDenied", "True", id="admission"),
        pytest.param(
            said(403, "unable to create new content in namespace x because it is being terminated"),
            "NamespaceTerminating", "True", id="namespace ends",
        ),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses_is_told_in_its_own_words(
    error: errors.ApiError, reason: str, accepted: str
) -> None:
    failed = status(outcome=Outcome(failures=(Failure("apply", "StatefulSet", "qwen-inference", error),)))

    assert conditions(failed)["Ready"].reason == reason
    assert error.status.message in conditions(failed)["Ready"].message
    assert conditions(failed)["Accepted"].status == accepted
    assert failed.components["inference"].phase == "Failed"


def test_missing_rights_degrade() -> None:
    error = said(403, 'User "x" cannot patch resource "statefulsets" in API group "apps"')
    failed = status(make.a_ready_pod(), outcome=Outcome(failures=(Failure("apply", "Service", "qwen", error),)))

    degraded = conditions(failed)["Degraded"]
    assert (degraded.status, degraded.reason) == ("True", "RBACDenied")
    assert "statefulsets" in degraded.message


def test_a_taken_name_is_a_conflict_that_only_the_user_can_end() -> None:
    taken = status(outcome=Outcome(taken=(NameTaken("Service", "qwen", "Deployment 'web'"),)))

    assert answers(taken)["Accepted"] == answers(taken)["Ready"] == "False/NameConflict"
    assert answers(taken)["Stalled"] == "True/NameConflict"
    assert "Service 'qwen' belongs to Deployment 'web'" in conditions(taken)["Ready"].message


def test_a_refused_spec_leaves_what_runs_as_it_is() -> None:
    before = status(make.a_ready_pod())
    snapshot = make.a_snapshot(make.raw_service(generation=2), pods=(make.a_ready_pod(),))

    refused = status_of_refused(InvalidSpec("spec.roles", "no"), snapshot, before, NOON)

    assert answers(refused)["Accepted"] == answers(refused)["Ready"] == "False/InvalidSpec"
    assert answers(refused)["Available"] == "True/EarlierSpecServes"
    assert answers(refused)["Stalled"] == "True/InvalidSpec"
    assert refused.components == before.components
    assert refused.observedGeneration == 2


def test_how_long_a_change_may_wait() -> None:
    two = make.a_role(replicas=2)
    nothing, first = status(role=two), status(make.a_ready_pod(0), make.a_pod(1), role=two)
    both = status(make.a_ready_pod(0), make.a_ready_pod(1), role=two)
    loading = status(make.a_ready_pod(0), running(1, started=False), role=two)
    crashed = status(make.a_ready_pod(0), make.a_waiting_pod(1, reason="ImagePullBackOff"), role=two)

    assert patience(first, first) is None
    assert patience(None, nothing) == AT_ONCE
    assert patience(nothing, first) == JOINED
    assert patience(first, both) == AT_ONCE
    assert patience(both, first) == AT_ONCE
    assert patience(first, loading) == REASONS
    assert patience(first, crashed) == AT_ONCE
    words = msgspec.structs.replace(
        first, conditions=tuple(msgspec.structs.replace(c, message=c.message + "!") for c in first.conditions)
    )
    assert patience(first, words) == COUNTS


# --- copies of several nodes ---

SEVERAL = make.a_role_of_nodes(2)


def test_a_kind_that_is_not_installed_is_named_and_nothing_waits_in_silence() -> None:
    told = status_in(make.a_snapshot(make.raw_service(SEVERAL), unserved={"LeaderWorkerSet"}))

    assert answers(told)["Ready"] == "False/NotInstalled"
    assert answers(told)["Progressing"] == "False/NotInstalled"
    assert answers(told)["Stalled"] == "True/NotInstalled"
    assert "LeaderWorkerSet (leaderworkerset.x-k8s.io/v1)" in conditions(told)["Ready"].message
    assert told.components["inference"].reason == "NotInstalled"


def test_what_serves_while_a_kind_is_missing_is_still_available() -> None:
    entry, workload = (make.applied(manifest) for manifest in make.desired().manifests)
    raw = make.raw_service(SEVERAL)
    snapshot = make.a_snapshot(
        raw, children=(entry, workload), pods=(make.a_ready_pod(),), unserved={"LeaderWorkerSet"}
    )

    told = answers(status_in(snapshot))

    assert (told["Available"], told["Ready"]) == ("True/Serving", "False/NotInstalled")


def test_a_workload_that_is_replaced_is_announced() -> None:
    entry, workload = (make.applied(manifest) for manifest in make.desired().manifests)

    told = status_in(make.a_snapshot(make.raw_service(SEVERAL), children=(entry, workload)))

    assert answers(told)["Progressing"] == "True/RecreatingWorkload"
    assert answers(told)["Ready"] == "False/RecreatingWorkload"
    assert "a copy has 2 nodes: the earlier workload ends first" in conditions(told)["Progressing"].message


def test_what_looks_like_a_mistake_is_told_with_the_acceptance() -> None:
    assumed = make.a_role(template=make.a_template(make.a_container(image="mine:1", args=["--port", "80"])))

    told = status(make.a_ready_pod(), role=assumed)

    assert answers(told)["Accepted"] == "True/AcceptedWithWarnings"
    assert "engine custom is assumed" in conditions(told)["Accepted"].message


def test_a_copy_that_is_made_anew_says_why_and_keeps_the_last_words() -> None:
    end = {"exitCode": 137, "reason": "Error", "message": "killed\n", "finishedAt": "2026-11-24T11:59:00Z"}
    crashed = [{"name": "engine", "restartCount": 1, "lastState": {"terminated": end}}]
    mark = make.desired(SEVERAL).roles[0].workload["metadata"]["annotations"][names.TEMPLATE]
    leader, worker = make.a_group(template=mark)
    worker["metadata"]["deletionTimestamp"] = "2026-11-24T12:01:00Z"
    worker["status"]["containerStatuses"] = crashed

    during = status(worker, role=SEVERAL)
    later = status(leader, role=SEVERAL, previous=during)

    assert during.components["inference"].reason == "RecreatingCopy"
    assert "pod qwen-inference-0-1, container engine: was killed" in during.components["inference"].message
    kept = later.components["inference"].lastFailure
    assert kept
    assert (kept.exitCode, kept.message, kept.pod) == (137, "killed", "qwen-inference-0-1")
    assert patience(status(leader, role=SEVERAL), during) == AT_ONCE


def test_of_two_crashes_in_the_same_second_the_one_that_was_told_stays() -> None:
    def a_crash(index: int) -> Manifest:
        end = {"exitCode": index + 1, "finishedAt": "2026-11-24T11:59:00Z"}
        return running(index, restartCount=1, lastState={"terminated": end}, ready=True)

    two = make.a_role(replicas=2)
    first = status(make.a_ready_pod(0), a_crash(1), role=two)
    both = status(a_crash(0), a_crash(1), role=two, previous=first)

    assert both.components["inference"].lastFailure == first.components["inference"].lastFailure
