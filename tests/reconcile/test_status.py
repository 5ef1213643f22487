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
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
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
    desired = desired_objects(service, make.ENGINES, make.STRATEGIES)
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


# --- the gang -----------------------------------------------------------------------------------------------------

PAIR = make.prefill_and_decode((2, 1), resources={"limits": {"nvidia.com/gpu": 4}})
GPUS = "0/5 nodes are unavailable: 5 Insufficient nvidia.com/gpu."
ABOUT_THE_GANG = "pod group is not ready, 3 Pending, 3 minAvailable; Pending: 2 Unschedulable, 1 Schedulable"


def gang_status(
    *pods: Manifest,
    phase: str = "Pending",
    roles: tuple[Manifest, ...] = PAIR,
    strategy: Manifest = make.GANG,
    queue: str = "default",
    unserved: tuple[str, ...] = (),
    previous: InferenceServiceStatus | None = None,
) -> InferenceServiceStatus:
    """The status of a service with a gang whose children stand as applied; `phase` is the PodGroup's."""
    raw = make.raw_service(*roles, schedulingStrategy=strategy)
    children = [make.applied(it) for it in make.desired(*roles, schedulingStrategy=strategy).manifests]
    for child in children:
        if child["kind"] == "PodGroup":
            child["status"] = {"phase": phase}
            child["spec"].setdefault("queue", queue)
    kept = tuple(child for child in children if child["kind"] not in unserved)
    return status_in(make.a_snapshot(raw, children=kept, pods=pods, unserved=unserved), previous=previous)


def prefill(index: int) -> Manifest:
    return make.in_gang(make.a_pod(index, workload="qwen-prefill"))


def decode() -> Manifest:
    return make.in_gang(make.a_pod(workload="qwen-decode"))


def no_room(pod: Manifest, message: str = GPUS) -> Manifest:
    return make.without_node(pod, message=message)


def bound(pod: Manifest) -> Manifest:
    return make.on_node({**pod, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})


WAITING = (no_room(prefill(0)), no_room(prefill(1)), make.that_fits(decode()))
SERVING = (bound(prefill(0)), bound(prefill(1)), bound(decode()))


def test_a_gang_that_waits_says_what_it_needs_what_fits_and_what_is_short() -> None:
    assert conditions(gang_status(*WAITING))["Scheduled"].message == (
        "PodGroup qwen is Pending in queue default and 0 of its 3 pods are bound: "
        "it needs 3 pods x 4 nvidia.com/gpu, of which 1 fit; 8 nvidia.com/gpu short for prefill; "
        "the scheduler says: 0/5 nodes are unavailable: 5 Insufficient nvidia.com/gpu"
    )


@pytest.mark.parametrize(
    ("pods", "phase", "answer"),
    [
        pytest.param(WAITING, "", "False/GangPending", id="Volcano has not said anything yet"),
        pytest.param(WAITING, "Pending", "False/GangPending", id="Pending"),
        pytest.param(WAITING, "Inqueue", "False/GangInqueue", id="Inqueue"),
        pytest.param(WAITING, "Unknown", "False/GangIncomplete", id="Unknown: it has lost some"),
        pytest.param(
            (bound(prefill(0)), no_room(prefill(1)), bound(decode())), "Unknown", "False/GangIncomplete", id="one lost"
        ),
        pytest.param(
            (bound(prefill(0)), no_room(prefill(1)), bound(decode())), "Running", "False/Unschedulable",
            id="the gang runs, a copy that was added has no room",
        ),
        pytest.param(
            (bound(prefill(0)), make.without_node(prefill(1), "SchedulingGated"), bound(decode())), "Running",
            "False/SchedulingGated", id="the gang runs, a copy is gated",
        ),
        pytest.param((bound(prefill(0)), prefill(1), bound(decode())), "Running", "False/PodsPending", id="just made"),
        pytest.param(WAITING[:2], "Pending", "False/Unschedulable", id="not all pods are made yet"),
        pytest.param((), "Pending", "False/PodsPending", id="no pod is made yet"),
        pytest.param(SERVING, "Running", "True/Scheduled", id="all have nodes"),
        pytest.param(SERVING, "Inqueue", "True/Scheduled", id="all have nodes, Volcano is about to say so"),
    ],
)  # fmt: skip
def test_scheduled_follows_the_gang_and_its_pods(pods: tuple[Manifest, ...], phase: str, answer: str) -> None:
    assert answers(gang_status(*pods, phase=phase))["Scheduled"] == answer


def test_a_gang_that_nobody_has_looked_at_says_what_to_look_for() -> None:
    told = conditions(gang_status(prefill(0), prefill(1), decode(), queue="research"))["Scheduled"]

    assert (told.reason, told.message) == (
        "GangPending",
        "PodGroup qwen is Pending in queue research and 0 of its 3 pods are bound: volcano has not looked at them yet; "
        "if that lasts, see that its scheduler runs, and that queue 'research' exists and is Open",
    )


def test_words_about_the_gang_are_not_repeated_as_words_about_nodes() -> None:
    told = gang_status(no_room(prefill(0), ABOUT_THE_GANG), no_room(prefill(1), ABOUT_THE_GANG), WAITING[2])

    assert not any("pod group is" in condition.message for condition in told.conditions)
    assert "8 nvidia.com/gpu short for prefill" in conditions(told)["Scheduled"].message
    assert told.components["prefill"].message == (
        "pod qwen-prefill-0 has no node: there is no room for it, and so none for its gang"
    )


def test_a_role_that_would_fit_says_that_it_waits_for_the_others() -> None:
    told = gang_status(*WAITING).components

    assert (told["prefill"].phase, told["prefill"].reason) == ("Pending", "Unschedulable")
    assert (told["decode"].phase, told["decode"].reason) == ("Pending", "WaitingForGang")


def test_ready_available_and_scheduled_say_the_same_of_a_gang_that_waits() -> None:
    told = conditions(gang_status(*WAITING))

    assert told["Ready"].message == told["Available"].message == told["Scheduled"].message
    assert told["Ready"].reason == told["Available"].reason == "GangPending"


def test_a_crash_is_told_rather_than_that_the_gang_waits() -> None:
    crashing = [{"name": "engine", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    crashed = make.on_node({**decode(), "status": {"containerStatuses": crashing, "phase": "Running"}})
    crashed["status"]["containerStatuses"][0]["lastState"] = ENDED

    told = answers(gang_status(*WAITING[:2], crashed, phase="Unknown"))

    assert told["Scheduled"] == "False/GangIncomplete"
    assert told["Ready"] == told["Available"] == told["WorkloadsReady"] == "False/CrashLoopBackOff"


def test_nothing_is_told_anew_when_only_the_node_that_a_pod_could_have_changes() -> None:
    before = gang_status(*WAITING)
    again = gang_status(*WAITING[:2], make.that_fits(decode(), "gpu-7"), previous=before)

    assert again == before


ADVICE = "; with gang.mode MinReplicas these copies would start now: "
ONE_OF_EACH = (make.that_fits(prefill(0)), no_room(prefill(1)), make.that_fits(decode()))


@pytest.mark.parametrize(
    ("pods", "strategy", "advice"),
    [
        pytest.param(ONE_OF_EACH, make.GANG, "1 of prefill and 1 of decode", id="some of every role would fit"),
        pytest.param(WAITING, make.GANG, "", id="none of one role would fit"),
        pytest.param(
            (make.that_fits(prefill(0)), make.that_fits(prefill(1)), no_room(decode())), make.GANG, "",
            id="all of one role and none of the other",
        ),
        pytest.param(
            ONE_OF_EACH, {**make.GANG, "gang": {"mode": "MinReplicas", "minReplicas": {"prefill": 2}}}, "",
            id="MinReplicas is on already",
        ),
    ],
)  # fmt: skip
def test_fewer_copies_are_advised_where_all_are_asked_for_and_some_of_every_role_could_start(
    pods: tuple[Manifest, ...], strategy: Manifest, advice: str
) -> None:
    told = conditions(gang_status(*pods, strategy=strategy))["Scheduled"]

    assert told.reason == "GangPending"
    assert told.message.partition(ADVICE)[2] == advice


def test_a_role_of_no_copies_does_not_keep_fewer_copies_from_being_advised() -> None:
    roles = make.prefill_and_decode((2, 0), resources={"limits": {"nvidia.com/gpu": 4}})

    told = conditions(gang_status(*ONE_OF_EACH[:2], roles=roles))["Scheduled"]

    assert told.message.endswith(f"{ADVICE}1 of prefill")


def test_a_gang_that_needs_less_than_all_is_not_said_to_need_all() -> None:
    roles = make.prefill_and_decode((4, 2), resources={"limits": {"nvidia.com/gpu": 4}})
    pods = (*(no_room(prefill(index)) for index in range(4)), *(make.that_fits(decode()),) * 2)

    told = conditions(gang_status(*pods, roles=roles, strategy={**make.GANG, "gang": {"mode": "MinReplicas"}}))

    assert "it needs 6 pods" not in told["Scheduled"].message


def test_a_surplus_copy_does_not_make_a_gang_wait_that_has_all_of_its_nodes() -> None:
    told = gang_status(*SERVING, bound(prefill(2)), phase="Inqueue")

    assert answers(told)["Scheduled"] == "True/Scheduled"


def test_a_service_of_no_copies_waits_for_nothing() -> None:
    assert answers(gang_status(roles=(make.a_role(replicas=0),)))["Scheduled"] == "True/ScaledToZero"


def test_a_group_that_is_left_over_is_not_waited_for() -> None:
    raw = make.raw_service(make.a_role())
    leftover = make.applied(make.desired(schedulingStrategy=make.GANG).manifests[1], phase="Pending")
    children = (*map(make.applied, make.desired().manifests), {**leftover, "status": {"phase": "Pending"}})
    waiting = make.in_gang(no_room(make.a_pod()))

    told = answers(status_in(make.a_snapshot(raw, children=children, pods=(waiting,))))

    assert told["Scheduled"] == "False/Unschedulable"


def test_while_the_gang_runs_what_has_no_room_is_told_with_numbers() -> None:
    told = conditions(gang_status(bound(prefill(0)), no_room(prefill(1)), bound(decode()), phase="Running"))

    assert told["Scheduled"].message == (
        "2 of 3 pods are bound; without a node: 1 pod x 4 nvidia.com/gpu; 4 nvidia.com/gpu short for prefill; "
        "the scheduler says: 0/5 nodes are unavailable: 5 Insufficient nvidia.com/gpu"
    )
    assert told["Available"].status == "True"
    assert told["Ready"].reason == "Unschedulable"


def test_pods_that_somebody_else_puts_into_another_gang_are_named_with_the_way_out() -> None:
    astray = make.in_gang(bound(prefill(1)), "qwen-prefill-1-5d9e")

    told = conditions(gang_status(bound(prefill(0)), astray, bound(decode()), phase="Running"))

    assert told["Scheduled"].reason == told["Ready"].reason == "GangOverridden"
    assert told["Scheduled"].message.startswith(
        "pod qwen-prefill-1 was put into gang 'qwen-prefill-1-5d9e' instead of 'qwen': "
        "somebody else writes scheduling.k8s.io/group-name too"
    )
    assert "gangSchedulingManagement" in told["Scheduled"].message


def test_that_pods_are_in_another_gang_is_told_rather_than_that_their_own_waits() -> None:
    told = answers(gang_status(*(make.in_gang(pod, "another") for pod in WAITING)))

    assert told["Scheduled"] == told["Ready"] == "False/GangOverridden"


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(make.in_gang(bound(make.a_pod(1, workload="qwen-prefill", revision="old")), "mine"), id="older"),
        pytest.param(bound(make.a_pod(1, workload="qwen-prefill")), id="not marked at all"),
        pytest.param(make.that_ends(make.in_gang(bound(prefill(1)), "another")), id="ends"),
    ],
)
def test_only_pods_that_were_made_for_the_gang_can_be_astray(pod: Manifest) -> None:
    told = answers(gang_status(bound(prefill(0)), pod, bound(decode()), phase="Running"))

    assert told["Scheduled"] != "False/GangOverridden"


def test_where_gangs_are_not_installed_it_is_told_everywhere_and_with_what_to_install() -> None:
    raw = make.raw_service(*PAIR, schedulingStrategy=make.GANG)

    told = status_in(make.a_snapshot(raw, unserved=("PodGroup",)))

    for kind in ("Scheduled", "Ready", "Progressing"):
        assert answers(told)[kind] == "False/NotInstalled"
    assert answers(told)["Stalled"] == "True/NotInstalled"
    assert conditions(told)["Ready"].message.startswith(
        "a gang needs PodGroup (scheduling.volcano.sh/v1beta1), which this cluster does not serve; "
        "install Volcano 1.14 or newer"
    )
    assert {(it.phase, it.reason) for it in told.components.values()} == {("Pending", "NotInstalled")}


def test_what_serves_where_gangs_are_not_installed_is_still_available() -> None:
    told = gang_status(*SERVING, unserved=("PodGroup",))

    assert answers(told)["Available"] == "True/Serving"
    assert answers(told)["Ready"] == "False/NotInstalled"
    assert told.components["prefill"].phase == "Running"


def test_only_decoders_count_as_serving() -> None:
    told = conditions(gang_status(*SERVING, phase="Running"))
    without = conditions(gang_status(*SERVING[:2], make.on_node(decode()), phase="Running"))

    assert told["Available"].message == "1 copy answers at http://qwen.default.svc"
    assert without["Available"].status == "False"


def test_prefillers_without_a_router_are_told_with_the_acceptance() -> None:
    told = conditions(gang_status(*SERVING, phase="Running"))["Accepted"]

    assert (told.status, told.reason) == ("True", "AcceptedWithWarnings")
    assert "role prefill: nothing sends it any prompts yet: the decoders answer alone" in told.message
    assert "role decode: no router" not in told.message


# --- the router ---------------------------------------------------------------------------------------------------

ROUTED = (make.a_role(), make.a_router())
TWO_PODS = (make.a_role(), make.a_router(replicas=2))


def mark(*roles: Manifest) -> str:
    router = make.desired(*(roles or ROUTED)).router
    assert router is not None
    return make.mark_of(router.workload)


def routed(
    *pods: Manifest,
    roles: tuple[Manifest, ...] = ROUTED,
    past_it: bool = False,
    without: tuple[str, ...] = (),
    unserved: tuple[str, ...] = (),
    outcome: Outcome | None = None,
    previous: InferenceServiceStatus | None = None,
    now: datetime = NOON,
    **spec: Any,
) -> InferenceServiceStatus:
    """The status of a service whose children stand as applied, but for kinds `without`; `past_it`: a router was added,
    and the entry does not lead to it yet."""
    desired = make.desired(*roles, **spec)
    entry = desired.direct_entry if past_it else desired.entry
    manifests = [entry, *(m for m in desired.manifests[1:] if m["kind"] not in without)]
    children = tuple(make.applied(manifest) for manifest in manifests)
    raw = make.raw_service(*roles, **spec)
    return status_in(make.a_snapshot(raw, children=children, pods=pods, unserved=unserved), outcome, previous, now)


ENGINE = make.a_ready_pod()
READY = make.a_router_pod(template=mark())
NOT_READY = make.a_router_pod(template=mark(), ready=False)


def waiting_picker(reason: str, message: str = "", **fields: Any) -> Manifest:
    """A pod of the router whose picker does not run."""
    picker = {"name": "epp", "state": {"waiting": {"reason": reason, "message": message}}, **fields}
    return make.a_router_pod(template=mark(), ready=False, phase="Pending", initContainerStatuses=[picker])


def deaf(*names: str) -> Manifest:
    """A pod of the router whose containers run, and of which those are not ready."""

    def container(name: str) -> Manifest:
        return {"name": name, "started": True, "ready": name not in names, "state": {"running": {}}}

    epp, envoy = container("epp"), container("envoy")
    return make.a_router_pod(template=mark(), ready=False, initContainerStatuses=[epp], containerStatuses=[envoy])


def test_a_service_whose_engines_and_router_all_answer_is_ready() -> None:
    ready = routed(ENGINE, READY)

    assert answers(ready) == {
        "Accepted": "True/Accepted",
        "Scheduled": "True/Scheduled",
        "WorkloadsReady": "True/AllReplicasReady",
        "RouterReady": "True/Routing",
        "Available": "True/Serving",
        "Progressing": "False/RolledOut",
        "Degraded": "False/AsExpected",
        "Ready": "True/Ready",
    }
    assert conditions(ready)["RouterReady"].message == "picker and Envoy are ready in 1 of 1 pods"
    assert conditions(ready)["Scheduled"].message == "all 2 pods are bound"
    assert conditions(ready)["Ready"].message == (
        "every copy is ready; requests are answered at http://qwen.default.svc"
    )
    assert ready.url == "http://qwen.default.svc"


def test_the_router_has_its_component() -> None:
    components = routed(ENGINE, READY).components

    assert components.keys() == {"inference", "entry"}
    entry = msgspec.to_builtins(components["entry"])
    assert entry == {
        "desiredReplicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "nodesPerReplica": 1, "totalPods": 1,
        "readyPods": 1, "phase": "Running", "reason": "Running", "message": "1 of 1 copies are ready",
        "lastUpdateTime": "2026-11-24T12:00:00Z",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen-entry"},
        "selector": "fusioninfer.io/service=qwen,fusioninfer.io/role=entry",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pods", "router", "words"),
    [
        pytest.param((), "False/PodsMissing", "Deployment qwen-entry has made 0 of 1 pods", id="no pod"),
        pytest.param((NOT_READY,), "False/PodPending", "was just made", id="a pod that was just made"),
        pytest.param(
            (waiting_picker("ImagePullBackOff", "Back-off pulling image none:1"),), "False/ImagePullBackOff",
            "container epp: ImagePullBackOff: Back-off pulling image none:1", id="the picker's image",
        ),
        pytest.param(
            (waiting_picker("CrashLoopBackOff", restartCount=4, lastState=ENDED),), "False/CrashLoopBackOff",
            "container epp: ended with exit code 3, 4 restarts", id="the picker crashes",
        ),
        pytest.param(
            (deaf("envoy"),), "False/ReadinessProbeFailing",
            "container envoy runs, but its readiness probe does not pass", id="Envoy is not ready",
        ),
        pytest.param(
            (deaf("epp", "envoy"),), "False/ReadinessProbeFailing",
            "container epp runs, but its readiness probe does not pass", id="the picker is not ready, and so not Envoy",
        ),
        pytest.param(
            (make.without_node(READY, message="0/5 nodes are available: 5 Insufficient cpu."),),
            "False/Unschedulable", "5 Insufficient cpu", id="no room",
        ),
    ],
)  # fmt: skip
def test_a_router_that_is_down_closes_the_way_in_and_names_the_hop(
    pods: tuple[Manifest, ...], router: str, words: str
) -> None:
    down = routed(ENGINE, *pods)

    said = conditions(down)
    assert answers(down)["RouterReady"] == router
    assert said["RouterReady"].message.startswith("router entry: 0 of 1 pods are ready; ")
    assert words in said["RouterReady"].message
    for kind in ("Available", "Ready"):
        assert (said[kind].status, said[kind].message) == ("False", said["RouterReady"].message)
    assert answers(down)["WorkloadsReady"] == "True/AllReplicasReady"
    assert answers(down)["Accepted"] == "True/Accepted"


@pytest.mark.parametrize(
    ("pods", "reason", "words"),
    [
        pytest.param((), "PodsPending", "0 of 1 pods of role entry are bound", id="not made yet"),
        pytest.param(
            (make.without_node(READY, message="0/5 nodes are available: 5 Insufficient cpu."),), "Unschedulable",
            "1 of 2 pods are bound; without a node: 1 pod x 500m cpu, 384Mi memory; 500m cpu short for entry; the "
            "scheduler says: 0/5 nodes are available: 5 Insufficient cpu",
            id="no room",
        ),
    ],
)  # fmt: skip
def test_pods_of_the_router_need_a_node_too(pods: tuple[Manifest, ...], reason: str, words: str) -> None:
    scheduled = conditions(routed(ENGINE, *pods))["Scheduled"]

    assert (scheduled.status, scheduled.reason) == ("False", reason)
    assert scheduled.message == words


def test_a_router_whose_pods_crash_waits_for_the_user_while_engines_are_whole() -> None:
    stalled = routed(ENGINE, waiting_picker("CrashLoopBackOff", restartCount=4, lastState=ENDED))

    assert answers(stalled)["Stalled"] == "True/CrashLoopBackOff"
    assert stalled.components["entry"].phase == "Failed"
    assert stalled.components["inference"].phase == "Running"
    assert "Stalled" not in answers(routed(ENGINE, NOT_READY))


def test_a_router_answers_with_one_of_two_pods_and_is_not_whole() -> None:
    pods = (make.a_router_pod(0, template=mark(*TWO_PODS)), make.a_router_pod(1, template=mark(*TWO_PODS), ready=False))

    half = routed(ENGINE, *pods, roles=TWO_PODS)

    assert conditions(half)["RouterReady"].message == "picker and Envoy are ready in 1 of 2 pods"
    assert answers(half)["RouterReady"] == "True/Routing"
    assert answers(half)["Available"] == "True/Serving"
    assert conditions(half)["Ready"].status == "False"
    assert conditions(half)["Ready"].message.startswith("router entry: 1 of 2 pods are ready; ")


def test_a_router_goes_on_answering_through_a_roll_out() -> None:
    old = make.a_router_pod(template="old")

    rolling = routed(ENGINE, old, NOT_READY)

    assert answers(rolling)["RouterReady"] == "True/Routing"
    assert answers(rolling)["Available"] == "True/Serving"
    assert answers(rolling)["Progressing"] == "True/RollingOut"
    assert answers(rolling)["Ready"].startswith("False/")
    assert answers(rolling)["Degraded"] == "False/AsExpected"
    assert conditions(rolling)["Progressing"].message == (
        "role entry: 1 of 1 copies have the present template, 1 are ready, 2 exist"
    )


def test_a_router_pod_that_stops_answering_degrades_the_service() -> None:
    assert answers(routed(ENGINE, deaf("envoy")))["Degraded"] == "True/ReadinessProbeFailing"


def test_a_new_router_that_is_passed_by_makes_nothing_unavailable() -> None:
    added = routed(ENGINE, NOT_READY, past_it=True)

    assert answers(added)["RouterReady"].startswith("False/")
    assert answers(added)["Available"] == "True/Serving"
    assert answers(added)["Ready"].startswith("False/")


def test_engines_that_do_not_answer_make_the_service_unavailable_whatever_the_router_does() -> None:
    alone = routed(make.a_pod(), READY)

    assert answers(alone)["RouterReady"] == "True/Routing"
    assert answers(alone)["Available"].startswith("False/")
    assert "role inference" in conditions(alone)["Ready"].message


PARTS = ("ServiceAccount", "RoleBinding", "InferencePool", "Deployment")


def test_where_pools_are_not_installed_it_says_what_to_install() -> None:
    missing = routed(ENGINE, without=PARTS, unserved=("InferencePool",))

    words = (
        "the router needs InferencePool (inference.networking.k8s.io/v1), which this cluster does not serve; "
        "install the CRDs of the Gateway API inference extension, and it is made by itself"
    )
    for kind in ("RouterReady", "Available", "Ready"):
        assert (conditions(missing)[kind].status, conditions(missing)[kind].reason) == ("False", "NotInstalled")
        assert conditions(missing)[kind].message == words
    assert answers(missing)["Stalled"] == "True/NotInstalled"
    assert answers(missing)["Accepted"] == "True/Accepted"
    assert answers(missing)["WorkloadsReady"] == "True/AllReplicasReady"
    entry = missing.components["entry"]
    assert (entry.phase, entry.reason) == ("Pending", "NotInstalled")
    assert entry.message == "it waits for InferencePool, which the cluster does not serve"


def test_where_pools_are_not_installed_a_router_that_is_added_takes_nothing_away() -> None:
    added = routed(ENGINE, past_it=True, without=PARTS, unserved=("InferencePool",))

    assert answers(added)["RouterReady"] == "False/NotInstalled"
    assert answers(added)["Available"] == "True/Serving"
    assert answers(added)["Ready"] == "False/NotInstalled"


def test_a_release_without_a_pool_is_ready_where_pools_are_not_installed() -> None:
    roles = (make.a_role(), make.a_router(pickerRelease="llm-d-router-0.10"))

    ready = routed(ENGINE, make.a_router_pod(template=mark(*roles)), roles=roles, unserved=("InferencePool",))

    assert answers(ready)["Ready"] == "True/Ready"
    assert answers(ready)["Accepted"] == "True/AcceptedWithWarnings"
    assert conditions(ready)["Accepted"].message == (
        "role entry: picker release llm-d-router-0.10 was never run by us: its config is checked against its catalogue "
        "only"
    )


def test_a_router_of_no_pods_lets_nothing_in() -> None:
    closed = routed(ENGINE, roles=(make.a_role(), make.a_router(replicas=0)))

    for kind in ("RouterReady", "Available", "Ready"):
        assert answers(closed)[kind] == "False/ScaledToZero"
    assert conditions(closed)["Available"].message == "no copy of router entry is asked for, and nothing gets in"


def test_a_service_of_no_copies_at_all_is_as_it_should_be() -> None:
    zero = answers(routed(roles=(make.a_role(replicas=0), make.a_router(replicas=0))))

    assert zero["Ready"] == "True/ScaledToZero"
    assert zero["Available"] == "False/ScaledToZero"


def test_engines_of_no_copies_behind_a_router_are_as_they_should_be() -> None:
    roles = (make.a_role(replicas=0), make.a_router())
    zero = answers(routed(make.a_router_pod(template=mark(*roles)), roles=roles))

    assert zero["RouterReady"] == "True/Routing"
    assert zero["Ready"] == "True/ScaledToZero"
    assert zero["Available"] == "False/ScaledToZero"


@pytest.mark.parametrize("kind", ["ServiceAccount", "RoleBinding", "InferencePool", "Deployment"])
def test_a_part_that_the_api_server_refuses_is_the_routers_failure(kind: str) -> None:
    error = said(403, f'User "x" cannot patch resource of {kind}')
    failed = routed(
        ENGINE, without=PARTS, outcome=Outcome(failures=(Failure("apply", kind, "qwen-entry", error),))
    )  # fmt: skip

    assert answers(failed)["RouterReady"] == answers(failed)["Ready"] == "False/RBACDenied"
    assert error.status.message in conditions(failed)["Ready"].message
    assert failed.components["entry"].phase == "Failed"
    assert failed.components["inference"].phase == "Running"
    assert answers(failed)["Stalled"] == "True/RBACDenied"


def test_a_router_whose_name_is_taken_is_a_conflict() -> None:
    taken = routed(ENGINE, READY, outcome=Outcome(taken=(NameTaken("ServiceAccount", "qwen-entry", "Job 'x'"),)))

    assert answers(taken)["Accepted"] == answers(taken)["Ready"] == "False/NameConflict"
    assert "ServiceAccount 'qwen-entry' belongs to Job 'x'" in conditions(taken)["Ready"].message
    assert answers(taken)["Available"] == "True/Serving"


def test_a_router_without_progress_for_too_long_has_failed() -> None:
    roles = (make.a_role(), make.a_router(progressDeadlineSeconds=60))
    pod = make.a_router_pod(template=mark(*roles), ready=False)
    before = routed(ENGINE, pod, roles=roles)

    late = routed(ENGINE, pod, roles=roles, previous=before, now=NOON + timedelta(seconds=60))

    assert answers(late)["Progressing"] == answers(late)["RouterReady"] == "False/ProgressDeadlineExceeded"
    assert answers(late)["Stalled"] == "True/ProgressDeadlineExceeded"
    assert "role entry has not progressed for 60 s" in conditions(late)["RouterReady"].message
    assert answers(before)["RouterReady"] == "False/PodPending"


def test_a_router_that_keeps_an_earlier_template_says_so() -> None:
    desired = make.desired(*ROUTED)
    (deployment,) = (m for m in desired.manifests if m["kind"] == "Deployment")
    metadata = {
        **deployment["metadata"],
        "annotations": {**deployment["metadata"]["annotations"], names.TEMPLATE: "old"},
    }
    children = (*desired.manifests[:-1], {**deployment, "metadata": metadata})
    snapshot = make.a_snapshot(
        make.raw_service(*ROUTED),
        children=tuple(map(make.applied, children)),
        pods=(ENGINE, make.a_router_pod(template="old")),
    )

    pending = status_in(snapshot)

    assert answers(pending)["Progressing"] == "False/UpdatePending"
    assert answers(pending)["Ready"] == "True/Ready"
    assert pending.components["entry"].reason == "UpdatePending"
    assert pending.components["inference"].reason == "Running"


def test_a_paused_router_that_was_never_made_is_no_member_of_a_gang_that_waits() -> None:
    waiting = routed(without=PARTS, unserved=("PodGroup",), paused=True, schedulingStrategy=make.GANG)

    entry = waiting.components["entry"]
    assert (entry.phase, entry.reason) == ("Pending", "NotCreated")
    assert waiting.components["inference"].phase == "Pending"


def test_the_first_router_pod_that_answers_is_told_at_once() -> None:
    before, after = routed(ENGINE, NOT_READY), routed(ENGINE, READY)

    assert patience(before, after) == AT_ONCE
    assert patience(after, routed(ENGINE, READY, previous=after)) is None


# --- prefill and decode apart -------------------------------------------------------------------------------------

APART = (*make.prefill_and_decode(), make.a_router())


def serving(side: str, *, roles: tuple[Manifest, ...] = APART, ready: bool = True, index: int = 0) -> Manifest:
    """A pod of that side, as the workload of `roles` makes it."""
    (objects,) = (own for own in make.desired(*roles).roles if own.role.name == side)
    pod = make.a_ready_pod(index, workload=f"qwen-{side}") if ready else make.a_pod(index, workload=f"qwen-{side}")
    pod["metadata"]["labels"] |= objects.templates[0]["metadata"]["labels"]
    return pod


def apart(*pods: Manifest, roles: tuple[Manifest, ...] = APART) -> InferenceServiceStatus:
    has_router = any(role["componentType"] == "router" for role in roles)
    router = (make.a_router_pod(template=mark(*roles)),) if has_router else ()
    return routed(*pods, *router, roles=roles)


def by_sglang(*roles: Manifest) -> tuple[Manifest, ...]:
    container = make.a_container(
        image="lmsysorg/sglang:v0.5.9",
        command=["python3", "-m", "sglang.launch_server"],
        args=["--model-path", "qwen"],
    )
    return tuple({**role, "template": make.a_template(container)} if "template" in role else role for role in roles)


def test_both_sides_are_there_and_prompts_are_sent_apart() -> None:
    told = answers(apart(serving("prefill"), serving("decode")))

    assert (told["RouterReady"], told["Available"], told["Ready"]) == ("True/Routing", "True/Serving", "True/Ready")


def test_without_a_ready_prefiller_decoders_answer_alone() -> None:
    told = apart(serving("prefill", ready=False), serving("decode"))

    assert answers(told)["RouterReady"] == "True/DecodersAlone"
    assert answers(told)["Available"] == "True/Serving"
    assert answers(told)["Ready"].startswith("False/")
    assert conditions(told)["RouterReady"].message.startswith(
        "decoders compute their prompts themselves, since role prefill: 0 of 1 copies are ready; "
    )


def test_decoders_that_cannot_answer_alone_need_a_prefiller_and_a_router() -> None:
    roles = by_sglang(*APART)

    alone = apart(serving("prefill", ready=False, roles=roles), serving("decode", roles=roles), roles=roles)
    whole = apart(serving("prefill", roles=roles), serving("decode", roles=roles), roles=roles)
    unrouted = apart(serving("prefill", roles=roles), serving("decode", roles=roles), roles=roles[:2])

    assert answers(alone)["RouterReady"] == answers(alone)["Available"] == "False/NoPrefillerReady"
    assert answers(whole)["Ready"] == "True/Ready"
    assert answers(unrouted)["Available"] == answers(unrouted)["Ready"] == "False/NoRouter"


def test_two_revisions_are_said_where_prompts_would_go() -> None:
    _, decoder, router = APART
    newer = make.prefill_and_decode(image="vllm/vllm-openai:v0.33.0")[0]
    roles = (newer, decoder, router)

    told = apart(serving("prefill", roles=roles), serving("decode"), roles=roles)

    assert answers(told)["RouterReady"] == "True/DecodersAlone"
    assert "fusioninfer.io/kv-revision" in conditions(told)["RouterReady"].message


@pytest.mark.parametrize(
    ("changed", "is_told"),
    [
        pytest.param({}, True, id="one copy"),
        pytest.param({"replicas": 2}, False, id="two copies"),
        pytest.param({"rolloutStrategy": {"rollingUpdate": {"maxSurge": 1}}}, False, id="a surge"),
    ],
)
def test_a_gap_is_announced_where_the_only_copy_is_replaced(changed: Manifest, is_told: bool) -> None:
    role = make.a_role(replicas=1) | changed
    old = [make.a_ready_pod(index) for index in range(role["replicas"])]
    children = [make.applied(manifest) for manifest in make.desired(role).manifests]
    children[1]["metadata"]["generation"] = 2
    children[1]["status"] = {"observedGeneration": 2, "updateRevision": "rev-2", "replicas": role["replicas"]}

    told = status_in(make.a_snapshot(make.raw_service(role), children=tuple(children), pods=tuple(old)))

    assert answers(told)["Progressing"] == "True/RollingOut"
    assert ("with one copy and no surge" in conditions(told)["Progressing"].message) is is_told
