"""Whatever happens at whichever write: the end is the same as if nothing had happened, and then there is silence.

Each scenario runs once without a fault, which numbers its writes and shows its end; then once for every write and
every fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.snapshot import (
    ENTRIES,
    LEADER_WORKER_SETS,
    PARTS_OF_A_ROUTER,
    POD_GROUPS,
    PODS,
    SERVICES,
    STATEFUL_SETS,
)
from tests import make, virtual
from tests.stories.played import Deployments, Killed, Nodes, User, Volcano, a_server, an_operator, shown

SETTLED_SECONDS = 30.0
"""Longer than any change of a status waits."""


@dataclass(slots=True)
class Faulty:
    """Lets everything through but one write, counted from 1."""

    kube: Kube
    fault: str = ""
    at: int = 0
    writes: list[str] = field(default_factory=list)

    async def send(self, request: Request) -> bytes:
        if request.method == "GET" or "/events/" in request.path:
            return await self.kube.send(request)
        self.writes.append(f"{request.method} {request.path}")
        mine = len(self.writes) == self.at
        if mine and self.fault == "killed before":
            raise Killed
        if mine and self.fault == "refused for now":
            raise errors.Unavailable(errors.Status(code=503, message="overloaded"))
        answer = await self.kube.send(request)
        if mine and self.fault == "killed after":
            raise Killed
        if mine and self.fault == "answer lost":
            raise errors.Unreachable("reset")
        return answer

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.kube.stream(request)


Step = Callable[[User], Awaitable[None]]


def applies(*roles: Manifest, **spec: Any) -> Step:
    return lambda user: user.apply("qwen", *roles, **spec)


def deletes(user: User) -> Awaitable[None]:
    return user.delete("qwen")


SURGE = {"rollingUpdate": {"maxSurge": 1}}
ONE, TWO = make.a_role(replicas=1), make.a_role(replicas=2)
GROUPS = make.a_role_of_nodes(2, replicas=2)
PREFILL, DECODE = ONE | {"name": "p", "componentType": "prefiller"}, ONE | {"name": "d", "componentType": "decoder"}
DECODE_GROUP = make.a_role_of_nodes(2, name="d", componentType="decoder")
GANG = {"schedulingStrategy": {"schedulerName": "volcano"}}
IMAGE = make.a_template(make.a_container(image="vllm/vllm-openai:v0.33.0"))

SCENARIOS: dict[str, list[Step]] = {
    "create": [applies(TWO)],
    "scale": [applies(ONE), applies(make.a_role(replicas=3)), applies(make.a_role(replicas=0))],
    "change the image": [applies(TWO), applies(make.a_role(replicas=2, template=IMAGE))],
    "change the image with a surge": [
        applies(make.a_role(replicas=2, rolloutStrategy=SURGE)),
        applies(make.a_role(replicas=2, rolloutStrategy=SURGE, template=IMAGE)),
    ],
    "rename the role": [applies(ONE), applies(make.a_role(name="chat", replicas=1))],
    "several nodes": [applies(GROUPS), applies({**GROUPS, "progressDeadlineSeconds": 60})],
    "one node, several, one again": [applies(TWO), applies(GROUPS), applies(ONE)],
    "delete and make anew": [applies(ONE), deletes, applies(TWO)],
    "rename the router": [applies(ONE, make.a_router(name="gate")), applies(ONE, make.a_router())],
    "gang": [applies(PREFILL, DECODE_GROUP, **GANG)],
    "gang grows and shrinks": [
        applies(PREFILL, DECODE, **GANG),
        applies(PREFILL, {**DECODE, "replicas": 2}, **GANG),
        applies({**PREFILL, "replicas": 0}, DECODE, **GANG),
    ],
    "gang turned on and off": [applies(ONE), applies(ONE, **GANG), applies(ONE)],
    "refused, then corrected": [applies(ONE), applies(ONE, disaggregation={}), applies(TWO)],
}
KINDS = (SERVICES, STATEFUL_SETS, LEADER_WORKER_SETS, POD_GROUPS, ENTRIES, PODS, *PARTS_OF_A_ROUTER)
ROOM = 3
"""For the pods of each scenario's gang, with none to spare."""
FAULTS = ("killed before", "killed after", "answer lost", "refused for now")


@dataclass(frozen=True, slots=True)
class End:
    """How a story ends."""

    writes: list[str]
    objects: list[Manifest]
    late_writes: list[str]
    """Written after everything had settled."""
    faults: list[Exception]


async def story(steps: list[Step], fault: str = "", at: int = 0) -> End:
    """Play `steps`, each until all is quiet, with one fault; a killed operator is followed by another."""
    server = a_server()
    kube, user = Faulty(server, fault, at), User(server)
    actors = (Nodes(server), Deployments(server), Volcano(server, ROOM))
    others = [asyncio.create_task(actor.run()) for actor in actors]
    killed = asyncio.Event()
    faults: list[Exception] = []
    left = list(steps)
    while left or not killed.is_set():
        killed.clear()
        async with an_operator(kube, killed.set) as ours:
            while left and not killed.is_set():
                await left.pop(0)(user)
                await _quiet(killed)
            if not killed.is_set():
                break
        faults += ours
    async with an_operator(kube) as ours:
        await asyncio.sleep(SETTLED_SECONDS)
        before = len(kube.writes)
        await asyncio.sleep(SETTLED_SECONDS)
    for other in others:
        other.cancel()
    objects = [shown(live) for kind in KINDS for live in await user.objects(kind)]
    return End(kube.writes, objects, kube.writes[before:], [*faults, *ours])


async def _quiet(killed: asyncio.Event) -> None:
    """Until all has settled, or the operator is killed."""
    waiting = asyncio.ensure_future(killed.wait())
    await asyncio.wait((waiting,), timeout=SETTLED_SECONDS)
    waiting.cancel()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_end_is_the_same_whatever_fails_at_whichever_write(scenario: str) -> None:
    steps = SCENARIOS[scenario]
    calm = virtual.run(story(steps))
    assert calm.faults == []
    assert calm.late_writes == []
    assert calm.objects

    for fault in FAULTS:
        for at in range(1, len(calm.writes) + 1):
            end = virtual.run(story(steps, fault, at))
            what = f"{fault} write {at}, {calm.writes[at - 1]}"
            assert end.faults == [], what
            assert msgspec.json.encode(end.objects) == msgspec.json.encode(calm.objects), what
            assert end.late_writes == [], what
