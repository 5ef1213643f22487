"""A plan carried out, and what came of it: against an API server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from fusioninfer.api.crd import service_schema
from fusioninfer.api.schema import kubernetes_definitions
from fusioninfer.kube import errors, requests
from fusioninfer.kube.memory import MemoryServer, Served
from fusioninfer.kube.requests import Manifest, Request
from fusioninfer.reconcile.apply import Outcome, carry_out
from fusioninfer.reconcile.plan import NameTaken, Plan, plan_changes
from fusioninfer.reconcile.snapshot import ENTRIES, POD_GROUPS, SERVICES, STATEFUL_SETS, Child, PodGroup
from tests import make
from tests.stories.played import User, a_server

STRANGER = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "qwen", "namespace": "default"}}


class Refusing:
    """A server that answers every write of one kind with `error`."""

    def __init__(self, server: MemoryServer, plural: str, error: errors.KubeError) -> None:
        self.server, self.plural, self.error = server, plural, error

    async def send(self, request: Request) -> bytes:
        if request.method != "GET" and f"/{self.plural}/" in request.path:
            raise self.error
        return await self.server.send(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.server.stream(request)


async def a_server_with_our_service() -> MemoryServer:
    """The owner of what is applied is there: else the garbage collector would take it at once."""
    server = a_server(make.UID)
    await User(server).apply("qwen", make.a_role())
    return server


def creating() -> Plan:
    return plan_changes(make.desired(), make.a_snapshot())


async def carried_out(kube: requests.Kube, plan: Plan) -> tuple[Outcome, list[Child]]:
    noted: list[Child] = []
    return await carry_out(kube, plan, lambda _, child: noted.append(child)), noted


async def exists(server: MemoryServer, resource: requests.Resource, name: str) -> bool:
    try:
        await server.send(requests.get(resource, "default", name))
    except errors.NotFound:
        return False
    return True


async def test_what_was_written_is_noted_as_the_api_server_answered_it() -> None:
    server = await a_server_with_our_service()

    outcome, noted = await carried_out(server, creating())

    assert outcome == Outcome(written=2)
    assert sorted(child.metadata.name for child in noted) == ["qwen", "qwen-inference"]
    assert all(child.metadata.uid and child.metadata.managedFields for child in noted)


async def test_our_own_object_that_the_cache_has_not_seen_yet_is_noted_and_no_conflict() -> None:
    server = await a_server_with_our_service()
    await carried_out(server, creating())

    outcome, noted = await carried_out(server, creating())

    assert outcome.stale
    assert not outcome.taken
    assert not outcome.written
    assert sorted(child.metadata.name for child in noted) == ["qwen", "qwen-inference"]


async def test_a_strangers_object_is_left_alone_and_named() -> None:
    server = await a_server_with_our_service()
    await server.send(requests.apply(ENTRIES, STRANGER, manager="somebody"))

    outcome, _ = await carried_out(server, creating())

    (taken,) = outcome.taken
    assert (taken.kind, taken.name, taken.holder) == ("Service", "qwen", "somebody else: it lacks our labels")
    assert outcome.written == 1
    live = msgspec.json.decode(await server.send(requests.get(ENTRIES, "default", "qwen")))
    assert "labels" not in live["metadata"]


async def test_another_services_object_is_left_alone_too() -> None:
    server = await a_server_with_our_service()
    labels = {"fusioninfer.io/service": "q"}
    other: Manifest = {**STRANGER, "metadata": {**STRANGER["metadata"], "labels": labels}}  # type: ignore[dict-item]
    await server.send(requests.apply(ENTRIES, other, manager="fusioninfer"))

    outcome, _ = await carried_out(server, creating())

    assert [taken.name for taken in outcome.taken] == ["qwen"]
    assert not outcome.stale


async def test_an_object_that_was_replaced_meanwhile_is_not_written_to() -> None:
    server = await a_server_with_our_service()
    desired = make.desired(make.a_role(replicas=3))
    live = tuple(make.applied(manifest) for manifest in make.desired().manifests)
    plan = plan_changes(desired, make.a_snapshot(children=live))

    outcome, _ = await carried_out(server, plan)

    assert outcome.stale
    assert not await exists(server, STATEFUL_SETS, "qwen-inference")


async def test_independent_writes_go_on_past_one_that_fails() -> None:
    server = await a_server_with_our_service()
    error = errors.Forbidden(errors.Status(code=403, message="exceeded quota"))

    outcome, _ = await carried_out(Refusing(server, "services", error), creating())

    (failure,) = outcome.failures
    assert (failure.verb, failure.kind, failure.name, failure.error) == ("apply", "Service", "qwen", error)
    assert await exists(server, STATEFUL_SETS, "qwen-inference")


@pytest.mark.parametrize("broken", [True, False])
async def test_nothing_is_deleted_unless_all_else_went_well(broken: bool) -> None:
    server = await a_server_with_our_service()
    _, noted = await carried_out(server, creating())
    children = [msgspec.json.decode(await server.send(requests.get(r, "default", n))) for r, n in PLACES]
    renamed = make.desired(make.a_role(name="chat"))
    plan = plan_changes(renamed, make.a_snapshot(children=tuple(children)))
    unavailable = errors.Unavailable(errors.Status(code=503))

    kube = Refusing(server, "statefulsets", unavailable) if broken else server
    outcome, _ = await carried_out(kube, plan)

    assert await exists(server, STATEFUL_SETS, "qwen-inference") is broken
    assert bool(outcome.failures) is broken
    assert len(noted) == 2


PLACES = ((ENTRIES, "qwen"), (STATEFUL_SETS, "qwen-inference"))


# --- waves --------------------------------------------------------------------------------------------------------


class Watching:
    """A server of which is told what is sent to it, as it begins and as it ends."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.told: list[str] = []

    async def send(self, request: Request) -> bytes:
        what = f"{request.method} {request.path.split('/')[-2]}"
        self.told.append(f"{what} begins")
        await asyncio.sleep(0)
        try:
            return await self.server.send(request)
        finally:
            self.told.append(f"{what} ends")

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.server.stream(request)


async def a_server_with_gangs() -> MemoryServer:
    definitions = kubernetes_definitions()
    builtin = [
        Served(resource, definitions[resource.kind], definitions=definitions) for resource in (STATEFUL_SETS, ENTRIES)
    ]
    kinds = [Served(SERVICES, service_schema(), custom=True), Served(POD_GROUPS, custom=True), *builtin]
    server = MemoryServer(kinds, uids=iter([make.UID, *(f"uid-{index}" for index in range(9))]).__next__)
    await User(server).apply("qwen", make.a_role(), schedulingStrategy=make.GANG)
    return server


def creating_a_gang() -> Plan:
    raw = make.raw_service(schedulingStrategy=make.GANG)
    return plan_changes(make.desired(schedulingStrategy=make.GANG), make.a_snapshot(raw))


async def test_a_wave_is_sent_when_the_one_before_it_was_answered_and_its_own_steps_side_by_side() -> None:
    server = Watching(await a_server_with_gangs())

    outcome, noted = await carried_out(server, creating_a_gang())

    assert outcome == Outcome(written=3)
    assert server.told[:2] == ["PATCH podgroups begins", "PATCH podgroups ends"]
    assert sorted(server.told[2:4]) == ["PATCH services begins", "PATCH statefulsets begins"]
    assert isinstance(noted[0], PodGroup)
    assert noted[0].spec.minMember == 1
    assert noted[0].metadata.managedFields


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable(errors.Status(code=503)),
        errors.Forbidden(errors.Status(code=403, message="policy says no")),
        errors.Unreachable("no route"),
    ],
    ids=["unavailable", "forbidden", "unreachable"],
)
async def test_a_wave_that_fails_holds_back_those_after_it(error: errors.KubeError) -> None:
    server = await a_server_with_gangs()

    outcome, noted = await carried_out(Refusing(server, "podgroups", error), creating_a_gang())

    assert [(failure.kind, failure.error) for failure in outcome.failures] == [("PodGroup", error)]
    assert not noted
    assert not await exists(server, STATEFUL_SETS, "qwen-inference")


async def test_a_wave_that_the_cache_was_behind_of_holds_back_those_after_it() -> None:
    server = await a_server_with_gangs()
    group = creating_a_gang().waves[0][0]
    await server.send(requests.apply(POD_GROUPS, group.manifest, manager="fusioninfer"))

    outcome, noted = await carried_out(server, creating_a_gang())

    assert outcome == Outcome(stale=True)
    assert [child.metadata.name for child in noted] == ["qwen"]
    assert not await exists(server, STATEFUL_SETS, "qwen-inference")


@pytest.mark.parametrize("fails", [True, False])
async def test_deletes_come_after_every_wave_and_not_after_one_that_fails(fails: bool) -> None:
    server = await a_server_with_gangs()
    await carried_out(server, creating_a_gang())
    places = (*PLACES, (POD_GROUPS, "qwen"))
    children = [msgspec.json.decode(await server.send(requests.get(r, "default", n))) for r, n in places]
    renamed = make.a_role(name="chat")
    raw = make.raw_service(renamed, schedulingStrategy=make.GANG)
    snapshot = make.a_snapshot(raw, children=tuple(children))
    plan = plan_changes(make.desired(renamed, schedulingStrategy=make.GANG), snapshot)

    kube = Watching(server)
    unavailable = errors.Unavailable(errors.Status(code=503))
    await carried_out(Refusing(server, "podgroups", unavailable) if fails else kube, plan)

    assert await exists(server, STATEFUL_SETS, "qwen-inference") is fails
    if not fails:
        assert kube.told[-2:] == ["DELETE statefulsets begins", "DELETE statefulsets ends"]
        assert kube.told[:2] == ["PATCH podgroups begins", "PATCH podgroups ends"]


async def test_nothing_is_deleted_while_a_name_is_taken() -> None:
    server = await a_server_with_our_service()
    await carried_out(server, creating())
    children = [msgspec.json.decode(await server.send(requests.get(r, "default", n))) for r, n in PLACES]
    plan = plan_changes(make.desired(make.a_role(name="chat")), make.a_snapshot(children=tuple(children)))
    taken = NameTaken("Service", "qwen", "Deployment 'web'")

    outcome, _ = await carried_out(server, Plan(plan.waves, plan.deletes, taken=(taken,)))

    assert outcome == Outcome(written=1, taken=(taken,))
    assert await exists(server, STATEFUL_SETS, "qwen-inference")


async def test_a_strangers_group_is_left_alone_and_named() -> None:
    server = await a_server_with_gangs()
    theirs = {
        "apiVersion": POD_GROUPS.api_version,
        "kind": POD_GROUPS.kind,
        "metadata": {"name": "qwen", "namespace": "default"},
        "spec": {"minMember": 7},
    }
    await server.send(requests.apply(POD_GROUPS, theirs, manager="somebody"))

    outcome, _ = await carried_out(server, creating_a_gang())

    assert [(taken.kind, taken.holder) for taken in outcome.taken] == [
        ("PodGroup", "somebody else: it lacks our labels")
    ]
    live = msgspec.json.decode(await server.send(requests.get(POD_GROUPS, "default", "qwen")))
    assert live["spec"] == {"minMember": 7}
    assert "labels" not in live["metadata"]
