"""Why a service is not ready: its class, the chain to the cause, the next step."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import fusioninfer.reconcile
from fusioninfer.api.service import Manifest
from fusioninfer.cli.causes import CLASSES, MEANING, Class, Event, Explanation, InvolvedObject, explained, telling
from fusioninfer.cli.flags import Flags
from fusioninfer.cli.look import Looked
from fusioninfer.cli.main import explain as command
from fusioninfer.cli.view import view_of, written
from fusioninfer.kube import errors
from fusioninfer.reconcile.apply import Failure, Outcome
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES, POOLS
from fusioninfer.reconcile.snapshot import LEADER_WORKER_SETS
from tests import make
from tests.cli import seen
from tests.cli.seen import NOON

FLAGS = Flags("default")


def explanation(looked: Looked, *events: Event) -> Explanation:
    return explained(view_of(looked), written(looked.service), events, FLAGS, NOON)


def crashed() -> Manifest:
    ended = {"exitCode": 1, "reason": "Error", "message": "no GPU", "finishedAt": "2026-11-24T11:59:30Z"}
    waiting = {"reason": "CrashLoopBackOff"}
    return make.a_waiting_pod(reason="CrashLoopBackOff", restartCount=3, lastState={"terminated": ended}) | {
        "status": {
            "containerStatuses": [
                {
                    "name": "engine", "restartCount": 3, "state": {"waiting": waiting},
                    "lastState": {"terminated": ended},
                }
            ]
        }
    }  # fmt: skip


def behind_a_closed_gateway() -> Looked:
    refused = make.by_parent(*make.told("Accepted", "ResolvedRefs", Accepted="False/NotAllowedByListeners"))
    router = make.behind_a_gateway()
    mark = make.mark_of(make.desired(make.a_role(), router).router.workload)  # type: ignore[union-attr] # it has one
    pods = (make.a_ready_pod(), make.a_router_pod(template=mark))
    return seen.looked(
        make.a_role(), router, pods=pods, changed={HTTP_ROUTES.kind: {"status": {"parents": [refused]}}}
    )  # fmt: skip


def over_quota() -> Outcome:
    said = errors.Forbidden(errors.Status(code=403, message="exceeded quota: gpus"))
    return Outcome(failures=(Failure("apply", "StatefulSet", "qwen-inference", said),))


FULL = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."
CASES: dict[str, tuple[Looked, Class, str]] = {
    "ready": (seen.looked(pods=(make.a_ready_pod(),)), Class.READY, "fusioninfer chat qwen -n default"),
    "no room": (
        seen.looked(pods=(make.without_node(make.a_pod(), message=FULL),)), Class.CAPACITY,
        r"kubectl get nodes -o 'custom-columns=NAME:.metadata.name,HAS:.status.allocatable.nvidia\.com/gpu'"
        "   # what the nodes have",
    ),
    "a gang that waits": (
        seen.looked(
            schedulingStrategy=make.GANG,
            changed=seen.GANG_WAITS,
            pods=(make.in_gang(make.without_node(make.a_pod(), message=FULL)),),
        ),
        Class.CAPACITY, "kubectl get nodes",
    ),
    "a quota that is used up": (
        seen.looked(outcome=over_quota()), Class.CAPACITY, "kubectl -n default describe resourcequota",
    ),
    "no image": (
        seen.looked(pods=(make.a_waiting_pod(reason="ImagePullBackOff", message="not found"),)), Class.IMAGE,
        "kubectl -n default edit inferenceservice qwen   # spec.roles[0].template.spec.containers[0].image",
    ),
    "a crash": (
        seen.looked(pods=(crashed(),)), Class.CRASH, "fusioninfer logs qwen inference --previous -n default",
    ),
    "no such secret": (
        seen.looked(pods=(make.a_waiting_pod(reason="CreateContainerConfigError", message="secret not found"),)),
        Class.CRASH, "kubectl -n default edit inferenceservice qwen",
    ),
    "a closed hop": (behind_a_closed_gateway(), Class.ROUTE, "kubectl -n default describe httproute qwen-entry"),
    "refused": (
        seen.looked(make.a_role(replicas=-1)), Class.REFUSED,
        "kubectl -n default edit inferenceservice qwen   # spec.roles[0].replicas",
    ),
    "loading": (
        seen.looked(pods=(make.a_waiting_pod(reason="ContainerCreating"),)), Class.PROGRESSING,
        "fusioninfer status qwen --watch -n default",
    ),
    "no LeaderWorkerSet": (
        seen.looked(make.a_role_of_nodes(2), unserved=(LEADER_WORKER_SETS.kind,)), Class.MISSING,
        "fusioninfer check",
    ),
    "paused": (
        seen.looked(paused=True, missing=("StatefulSet",)), Class.OTHER,
        "kubectl -n default patch inferenceservice qwen --type=merge",
    ),
    "no operator": (seen.looked(status=False), Class.OTHER, "fusioninfer check   # is the operator there?"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_cause_has_its_class_and_its_next_step(case: str) -> None:
    looked, found, next_step = CASES[case]

    told = explanation(looked)

    assert told.exit_code is found
    assert told.next_step.startswith(next_step)


@pytest.mark.parametrize("case", [case for case in CASES if case != "no operator"])
def test_the_first_line_is_what_ready_says(case: str) -> None:
    ready = view_of(CASES[case][0]).condition("Ready")

    assert ready is not None
    assert explanation(CASES[case][0]).cause == ready.message


def test_the_chain_goes_from_the_service_to_the_event() -> None:
    pulled = Event("Normal", "Pulled", "image is there", InvolvedObject("Pod", "qwen-inference-0"), 1)
    back_off = Event(
        "Warning", "BackOff", "Back-off restarting\ncontainer", InvolvedObject("Pod", "qwen-inference-0"), 7,
        "2026-11-24T11:59:00Z",
    )  # fmt: skip

    chain = explanation(CASES["a crash"][0], pulled, back_off).chain

    assert [(link.what, link.name) for link in chain] == [
        ("service", "qwen"),
        ("role", "inference"),
        ("workload", "StatefulSet qwen-inference"),
        ("pod", "qwen-inference-0"),
        ("failure", "qwen-inference-0/engine"),
        ("event", "Pod qwen-inference-0"),
    ]
    assert chain[-1].words == "BackOff x7, 60s ago: Back-off restarting container"
    assert "its last words: no GPU" in chain[-2].words


def test_a_gang_stands_between_workload_and_pod() -> None:
    chain = explanation(CASES["a gang that waits"][0]).chain

    assert [link.what for link in chain] == ["service", "role", "workload", "gang", "pod"]


def test_only_closed_hops_are_told_of() -> None:
    hops = [link.name for link in explanation(CASES["a closed hop"][0]).chain if link.what == "hop"]

    assert "HTTPRoute qwen-entry" in hops
    assert all(name.split()[0] in (HTTP_ROUTES.kind, POOLS.kind) for name in hops)


def test_a_generation_that_nobody_has_looked_at_is_no_cause() -> None:
    looked = CASES["ready"][0]
    raw_metadata = looked.service.metadata
    later = Looked(
        type(looked.service)(
            metadata=type(raw_metadata)(name="qwen", namespace="default", generation=2),
            spec=looked.service.spec,
            status=looked.service.status,
        ),
        looked.pods,
    )

    told = explanation(later)

    assert told.exit_code is Class.PROGRESSING
    assert told.cause.startswith("the operator has not looked at generation 2 yet; of 1 it said: every copy is ready")


def test_a_deadline_that_passed_has_the_class_of_what_the_pod_says() -> None:
    looked = CASES["no room"][0]
    view = view_of(looked)
    assert view.status is not None
    conditions = tuple(
        _with_reason(condition, "ProgressDeadlineExceeded") if condition.type == "Ready" else condition
        for condition in view.status.conditions
    )
    status = type(view.status)(1, conditions, view.status.components)
    passed = type(view)(view.namespace, view.name, 1, "", status, view.roles)

    assert explained(passed, {}, (), FLAGS, NOON).exit_code is Class.CAPACITY


def _with_reason(condition: Any, reason: str) -> Any:
    return type(condition)(
        condition.type, condition.status, reason, condition.message, condition.lastTransitionTime, 1
    )  # fmt: skip


def test_warnings_come_before_news_and_the_latest_before_the_earlier() -> None:
    events = [Event("Warning", str(hour), lastTimestamp=f"2026-11-24T{hour}:00:00Z") for hour in (14, 11, 13, 12)]
    news = Event("Normal", "Started", lastTimestamp="2026-11-24T15:00:00Z")

    assert [event.reason for event in telling([*events, news])] == ["12", "13", "14"]
    assert telling([news]) == [news]


def test_help_tells_of_every_exit_code() -> None:
    told = " ".join((command.__doc__ or "").split())

    for found, meaning in MEANING.items():
        assert re.search(rf"\b{found.value} {re.escape(meaning)}[;.]", told)
    assert len({*Class}) == len(MEANING)


def test_every_reason_that_ready_may_have_has_a_class() -> None:
    """Those that stand as words in the code; others are constants that CLASSES names."""
    folder = Path(fusioninfer.reconcile.__file__).parent
    calls = [
        node
        for file in ("conditions", "phases", "trouble")
        for node in ast.walk(ast.parse((folder / f"{file}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    where = {"Verdict": 1, "Standing": 1, "Trouble": 0}
    reasons = {
        reason.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in where and len(call.args) > where[call.func.id]
        if isinstance(reason := call.args[where[call.func.id]], ast.Constant)
        if call.func.id != "Verdict" or getattr(call.args[0], "value", "") == "False"
    }

    assert len(reasons) > 20
    assert reasons - CLASSES.keys() <= {"Running", "RolledOut", "AsExpected"}  # with which it is ready


def test_the_next_step_leads_to_the_same_cluster() -> None:
    flags = Flags("llm", context="west")

    steps = {
        case: explained(view_of(CASES[case][0]), {}, (), flags, NOON).next_step
        for case in ("a crash", "no LeaderWorkerSet")
    }

    assert steps == {
        "a crash": "fusioninfer logs qwen inference --previous -n llm --context west",
        "no LeaderWorkerSet": "fusioninfer check --context west",
    }
