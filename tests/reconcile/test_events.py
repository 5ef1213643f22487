"""What is told as events, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from fusioninfer.api.types import Condition, InferenceServiceStatus
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.reconcile.events import events_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERVICE = ObjectMeta(name="qwen", namespace="llm", uid="u")


def status(**answers: str) -> InferenceServiceStatus:
    """A status of conditions such as Ready="False/Crash"."""
    conditions = tuple(
        msgspec.convert(
            {
                "type": kind, "status": answer.partition("/")[0], "reason": answer.partition("/")[2],
                "message": "words", "lastTransitionTime": "x", "observedGeneration": 1,
            },
            Condition,
        )
        for kind, answer in answers.items()
    )  # fmt: skip
    return InferenceServiceStatus(1, conditions, {})


def told(previous: InferenceServiceStatus | None, now: InferenceServiceStatus) -> list[tuple[str, str]]:
    return [(event["type"], event["reason"]) for event in events_of(SERVICE, previous, now, NOON)]


LOADING = status(Accepted="True/Accepted", Ready="False/StartupProbePending")
READY = status(Accepted="True/Accepted", Ready="True/Ready")
CRASHED = status(Accepted="True/Accepted", Ready="False/CrashLoopBackOff", Stalled="True/CrashLoopBackOff")


def test_a_service_that_is_not_ready_yet_is_no_news() -> None:
    assert told(None, LOADING) == []
    assert told(LOADING, LOADING) == []


def test_ready_is_told_when_it_turns() -> None:
    assert told(LOADING, READY) == [("Normal", "Ready")]
    assert told(READY, LOADING) == [("Warning", "StartupProbePending")]
    assert told(READY, READY) == []


def test_a_failure_is_told_once_and_again_when_it_becomes_another() -> None:
    other = status(Accepted="True/Accepted", Ready="False/ErrImagePull", Stalled="True/ErrImagePull")

    assert told(LOADING, CRASHED) == [("Warning", "CrashLoopBackOff")]
    assert told(CRASHED, CRASHED) == []
    assert told(CRASHED, other) == [("Warning", "ErrImagePull")]


def test_a_refusal_is_told() -> None:
    refused = status(Accepted="False/InvalidSpec", Ready="False/InvalidSpec", Stalled="True/InvalidSpec")

    assert told(None, refused) == [("Warning", "InvalidSpec")]


def test_the_same_news_has_the_same_name_so_that_it_renews_one_event() -> None:
    (first,) = events_of(SERVICE, LOADING, READY, NOON)
    (again,) = events_of(SERVICE, LOADING, READY, NOON + timedelta(hours=1))

    assert first["metadata"] == again["metadata"]
    assert first["lastTimestamp"] != again["lastTimestamp"]
    assert first["involvedObject"]["uid"] == "u"
