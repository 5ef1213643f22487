"""`fusioninfer explain`: what is asked and how it is printed."""

from __future__ import annotations

from typing import Any

import msgspec

from fusioninfer.cli.causes import Class, Explanation, Link
from fusioninfer.cli.explain import events_of, shown
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Request
from tests.cli.seen import text


def test_the_cause_stands_first_and_the_next_step_last() -> None:
    chain = (Link("service", "qwen", "Ready=False"), Link("pod", "qwen-inference-0", "without a node"))

    lines = text(
        shown(Explanation("no node has room", chain, "kubectl get nodes", Class.CAPACITY), ["Event: no right"])
    )

    assert lines == [
        "no node has room",
        "",
        "service  qwen              Ready=False",
        "pod      qwen-inference-0  without a node",
        "not to be seen: Event: no right",
        "",
        "next: kubectl get nodes",
    ]


class Events:
    """An API server with one event."""

    def __init__(self, refusal: errors.ApiError | None = None) -> None:
        self.refusal = refusal
        self.asked: list[Request] = []

    async def send(self, request: Request) -> bytes:
        self.asked.append(request)
        if self.refusal:
            raise self.refusal
        return msgspec.json.encode({"items": [{"type": "Warning", "reason": "BackOff", "count": 3}]})

    def stream(self, request: Request) -> Any:
        raise NotImplementedError


async def test_events_are_asked_for_by_the_name_of_what_they_are_about() -> None:
    kube = Events()

    (event,), complaint = await events_of(kube, "llm", "qwen-inference-0")

    assert (event.reason, event.count, complaint) == ("BackOff", 3, "")
    assert kube.asked[0].path == "/api/v1/namespaces/llm/events"
    assert kube.asked[0].query["fieldSelector"] == "involvedObject.name=qwen-inference-0"


async def test_events_that_may_not_be_read_are_said_so() -> None:
    refusal = errors.Forbidden(errors.Status(code=403, message="cannot list events"))

    assert await events_of(Events(refusal), "llm", "qwen") == ((), "Event: cannot list events")
