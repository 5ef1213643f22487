"""Gangs on a played cluster: what waits, what starts, and in which order things are written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.snapshot import LEADER_WORKER_SETS, POD_GROUPS, PODS, SERVICES, STATEFUL_SETS
from tests import make, virtual
from tests.stories.played import GROUP_NAME, NAMESPACE, Lacking, Nodes, User, Volcano, a_server, an_operator

SETTLED_SECONDS = 40.0
"""Longer than a roll-out of these services takes, and than a change of a status waits."""
GANG = {"schedulingStrategy": {"schedulerName": "volcano"}}
NO_GANG = {"schedulingStrategy": {"schedulerName": "volcano", "gang": {"mode": "None"}}}


def prefill(replicas: int, **fields: Any) -> Manifest:
    return make.a_role(name="prefill", componentType="prefiller", replicas=replicas, **fields)


def decode(replicas: int, nodes: int = 1, **fields: Any) -> Manifest:
    role = make.a_role_of_nodes(nodes, replicas=replicas) if nodes > 1 else make.a_role(replicas=replicas)
    return {**role, "name": "decode", "componentType": "decoder", **fields}


@dataclass(slots=True)
class Watching:
    """Remembers what the operator writes; words about it, events, are left out."""

    kube: Kube
    writes: list[str] = field(default_factory=list)

    async def send(self, request: Request) -> bytes:
        if request.method != "GET" and "/events/" not in request.path:
            self.writes.append(_told(request))
        return await self.kube.send(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.kube.stream(request)

    @property
    def of_the_gang(self) -> list[str]:
        return [write for write in self.writes if "gang" in write]


def _told(request: Request) -> str:
    kind, name = request.path.split("/")[-2:]
    spec = msgspec.json.decode(request.body).get("spec", {}) if request.method == "PATCH" else {}
    if kind == POD_GROUPS.plural:
        return f"gang asks for {spec['minMember']}" if spec else "gang is deleted"
    if kind in (STATEFUL_SETS.plural, LEADER_WORKER_SETS.plural):
        return f"{name} has {spec['replicas']}" if spec else f"{name} is deleted"
    return f"{name} of {kind}"


@dataclass(slots=True)
class Cluster:
    """A played cluster in which Volcano places pods."""

    kube: Watching
    user: User
    volcano: Volcano

    async def apply(self, *roles: Manifest, **spec: Any) -> None:
        """What the user applies, and time until all has settled; `writes` are those since then."""
        self.kube.writes.clear()
        await self.user.apply("qwen", *roles, **spec)
        await self.settled()

    @staticmethod
    async def settled() -> None:
        await asyncio.sleep(SETTLED_SECONDS)

    async def lose(self, pod: str) -> None:
        await self.user.kube.send(Request("DELETE", PODS.path(NAMESPACE, pod)))

    async def pods(self) -> dict[str, bool]:
        """By name, whether it has a node."""
        return {p["metadata"]["name"]: "nodeName" in p["spec"] for p in await self.user.objects(PODS)}

    async def on_nodes(self) -> Counter[str]:
        """By role, pods that have a node."""
        return Counter(name.split("-")[1] for name, has_node in (await self.pods()).items() if has_node)

    async def asks_for(self) -> int | None:
        """How many pods the gang asks for; None if there is none."""
        groups = await self.user.objects(POD_GROUPS)
        return groups[0]["spec"]["minMember"] if groups else None

    async def reason(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition of the service."""
        (service,) = await self.user.objects(SERVICES)
        condition = next(c for c in service["status"]["conditions"] if c["type"] == kind)
        return condition["status"], condition["reason"]


@asynccontextmanager
async def a_cluster(room: int, *, lacking: Lacking | None = None) -> AsyncIterator[Cluster]:
    """A cluster with room for so many pods, with an operator in it."""
    server = lacking.kube if lacking else a_server()
    kube, volcano = Watching(lacking or server), Volcano(server, room)
    others = [asyncio.create_task(Nodes(server).run()), asyncio.create_task(volcano.run())]
    async with an_operator(kube) as faults:
        yield Cluster(kube, User(server), volcano)
    for task in others:
        task.cancel()
    assert faults == []


def test_a_gang_waits_as_a_whole_and_starts_as_a_whole() -> None:
    async def story() -> None:
        async with a_cluster(room=3) as cluster:
            await cluster.apply(prefill(2), decode(1, nodes=2), **GANG)
            assert not any((await cluster.pods()).values())
            assert await cluster.reason("Scheduled") == ("False", "GangInqueue")

            cluster.volcano.room = 4
            await cluster.settled()
            assert all((await cluster.pods()).values())
            assert await cluster.reason("Ready") == ("True", "Ready")

    virtual.run(story())


def test_without_room_for_one_copy_more_what_runs_goes_on_and_finds_its_place_again() -> None:
    async def story() -> None:
        async with a_cluster(room=4) as cluster:
            await cluster.apply(prefill(2), decode(2), **GANG)
            await cluster.apply(prefill(3), decode(2), **GANG)
            assert cluster.kube.of_the_gang == []
            assert (await cluster.pods())["qwen-prefill-2"] is False

            await cluster.lose("qwen-decode-0")
            await cluster.settled()
            assert await cluster.on_nodes() == {"prefill": 2, "decode": 2}

            cluster.volcano.room = 5
            await cluster.settled()
            assert await cluster.on_nodes() == {"prefill": 3, "decode": 2}
            assert cluster.kube.of_the_gang == ["gang asks for 5"]

    virtual.run(story())


def test_before_there_are_fewer_copies_the_gang_asks_for_fewer() -> None:
    async def story() -> None:
        async with a_cluster(room=5) as cluster:
            await cluster.apply(prefill(3), decode(1, nodes=2), **GANG)
            assert await cluster.asks_for() == 5

            await cluster.apply(prefill(1), decode(1, nodes=2), **GANG)
            shrinking = [write for write in cluster.kube.writes if "gang" in write or "has" in write]
            assert shrinking == ["gang asks for 3", "qwen-prefill has 1"]

    virtual.run(story())


def test_after_there_are_more_copies_on_nodes_the_gang_asks_for_more() -> None:
    async def story() -> None:
        async with a_cluster(room=5) as cluster:
            await cluster.apply(prefill(1), decode(1), **GANG)

            await cluster.apply(prefill(3), decode(2), **GANG)
            writes = [write for write in cluster.kube.writes if "gang" in write or "has" in write]
            assert sorted(writes[:2]) == ["qwen-decode has 2", "qwen-prefill has 3"]
            assert writes[2:] == ["gang asks for 5"]

    virtual.run(story())


def test_a_gang_that_waits_asks_for_more_after_its_workloads_have_more() -> None:
    async def story() -> None:
        async with a_cluster(room=1) as cluster:
            await cluster.apply(prefill(1), decode(1), **GANG)

            await cluster.apply(prefill(1), decode(2), **GANG)
            writes = [write for write in cluster.kube.writes if "gang" in write or "has" in write]
            assert writes == ["qwen-decode has 2", "gang asks for 3"]

    virtual.run(story())


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_gang_is_turned_on_for_a_running_service_without_room_to_spare(nodes: int) -> None:
    async def story() -> None:
        async with a_cluster(room=2 + 2 * nodes) as cluster:
            roles = prefill(2), decode(2, nodes)
            await cluster.apply(*roles, **NO_GANG)
            assert await cluster.asks_for() is None

            await cluster.apply(*roles, **GANG)
            assert cluster.kube.of_the_gang == ["gang asks for 1", f"gang asks for {2 + 2 * nodes}"]
            assert await cluster.reason("Ready") == ("True", "Ready")

    virtual.run(story())


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_gang_that_is_turned_off_stays_while_pods_name_it(nodes: int) -> None:
    async def story() -> None:
        async with a_cluster(room=2 + 2 * nodes) as cluster:
            roles = prefill(2), decode(2, nodes)
            await cluster.apply(*roles, **GANG)

            cluster.kube.writes.clear()
            await cluster.user.apply("qwen", *roles, **NO_GANG)
            for _ in range(400):
                await asyncio.sleep(0.1)
                pods = await cluster.user.objects(PODS)
                named = any(GROUP_NAME in pod["metadata"].get("annotations", {}) for pod in pods)
                assert not named or await cluster.asks_for() == 1
            assert cluster.kube.of_the_gang == ["gang asks for 1", "gang is deleted"]
            assert await cluster.reason("Ready") == ("True", "Ready")

    virtual.run(story())


def test_a_gang_that_waits_for_room_is_turned_off_and_what_fits_starts() -> None:
    async def story() -> None:
        async with a_cluster(room=3) as cluster:
            await cluster.apply(prefill(2), decode(2), **GANG)
            assert not any((await cluster.pods()).values())

            await cluster.apply(prefill(2), decode(2), **NO_GANG)
            assert sum((await cluster.pods()).values()) == 3

    virtual.run(story())


def test_a_role_goes_to_nothing_and_comes_back() -> None:
    async def story() -> None:
        async with a_cluster(room=4) as cluster:
            for replicas in (2, 0, 2):
                await cluster.apply(prefill(2), decode(replicas), **GANG)
                assert await cluster.asks_for() == 2 + replicas
                assert sum((await cluster.pods()).values()) == 2 + replicas

            await cluster.apply(prefill(0), decode(0), **GANG)
            assert await cluster.asks_for() == 1
            await cluster.apply(prefill(1), decode(1), **GANG)
            assert await cluster.reason("Ready") == ("True", "Ready")

    virtual.run(story())


def test_a_new_image_rolls_over_a_gang_that_fills_the_cluster() -> None:
    async def story() -> None:
        async with a_cluster(room=6) as cluster:
            await cluster.apply(prefill(2), decode(2, nodes=2), **GANG)

            newer = make.a_template(make.a_container(image="vllm/vllm-openai:v0.33.0"))
            await cluster.apply(prefill(2, template=newer), decode(2, nodes=2), **GANG)
            assert cluster.kube.of_the_gang == []
            images = Counter(p["spec"]["containers"][0]["image"] for p in await cluster.user.objects(PODS))
            assert images["vllm/vllm-openai:v0.33.0"] == 2
            assert await cluster.reason("Ready") == ("True", "Ready")

    virtual.run(story())


def test_more_nodes_per_copy_while_the_gang_waits() -> None:
    async def story() -> None:
        async with a_cluster(room=3) as cluster:
            await cluster.apply(prefill(1), decode(2, nodes=2), **GANG)
            assert not any((await cluster.pods()).values())

            await cluster.apply(prefill(1), decode(2, nodes=3), **GANG)
            cluster.volcano.room = 100
            await cluster.settled()
            assert await cluster.on_nodes() == {"prefill": 1, "decode": 6}
            assert await cluster.asks_for() == 7

    virtual.run(story())


def test_one_role_gets_several_nodes_per_copy_and_the_other_finds_its_place_again() -> None:
    async def story() -> None:
        async with a_cluster(room=4) as cluster:
            await cluster.apply(prefill(2), decode(2), **GANG)
            await cluster.apply(prefill(2), decode(2, nodes=2), **GANG)

            await cluster.lose("qwen-prefill-0")
            await cluster.settled()
            assert (await cluster.on_nodes())["prefill"] == 2

    virtual.run(story())


def test_a_service_is_deleted_and_made_anew() -> None:
    async def story() -> None:
        async with a_cluster(room=2) as cluster:
            await cluster.apply(prefill(1), decode(1), **GANG)
            (before,) = await cluster.user.objects(POD_GROUPS)

            await cluster.user.delete("qwen")
            await cluster.apply(prefill(1), decode(1), **GANG)
            (now,) = await cluster.user.objects(POD_GROUPS)
            assert now["metadata"]["uid"] != before["metadata"]["uid"]
            assert await cluster.reason("Ready") == ("True", "Ready")

    virtual.run(story())


def test_while_a_gang_waits_nothing_is_written_whatever_volcano_writes() -> None:
    async def story() -> None:
        async with a_cluster(room=3) as cluster:
            await cluster.apply(prefill(2), decode(2), **GANG)
            cluster.kube.writes.clear()
            before = cluster.volcano.writes

            await asyncio.sleep(120)
            assert cluster.volcano.writes > before + 400
            assert cluster.kube.writes == []

    virtual.run(story())


def test_volcano_is_installed_late_and_the_gang_comes_up_without_a_restart() -> None:
    async def story() -> None:
        lacking = Lacking(a_server(), POD_GROUPS)
        async with a_cluster(room=4, lacking=lacking) as cluster:
            await cluster.apply(prefill(1), decode(1, nodes=2), **GANG)
            assert await cluster.reason("Ready") == ("False", "NotInstalled")
            assert await cluster.pods() == {}

            lacking.is_installed = True
            await cluster.settled()
            assert await cluster.reason("Ready") == ("True", "Ready")
            assert await cluster.asks_for() == 3

    virtual.run(story())


def test_without_volcano_what_serves_goes_on_unchanged() -> None:
    async def story() -> None:
        lacking = Lacking(a_server(), POD_GROUPS)
        async with a_cluster(room=4, lacking=lacking) as cluster:
            await cluster.apply(prefill(1), decode(1))
            before = await cluster.user.objects(STATEFUL_SETS)

            await cluster.apply(prefill(2), decode(1), **GANG)
            assert await cluster.reason("Ready") == ("False", "NotInstalled")
            assert await cluster.reason("Available") == ("True", "Serving")
            assert await cluster.user.objects(STATEFUL_SETS) == before

            lacking.is_installed = True
            await cluster.settled()
            assert await cluster.reason("Ready") == ("True", "Ready")
            assert await cluster.asks_for() == 3

    virtual.run(story())
