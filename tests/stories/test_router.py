"""A router that comes, changes and goes, in virtual time: what is written, and that somebody always answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.gateway_api import POOLS
from fusioninfer.reconcile.snapshot import DEPLOYMENTS, ENTRIES, PARTS_OF_A_ROUTER, PODS, SERVICES
from tests import make, virtual
from tests.stories.played import Deployments, Nodes, User, a_server, an_operator

SETTLED_SECONDS = 30.0
"""Longer than any change of a status waits."""
ENGINE, ROUTER = make.a_role(replicas=2), make.a_router()
TO_IT = names.router_labels("qwen", "entry")


class Watched:
    """An API server: whoever writes, it looks who would answer a client; `lacks_pools` until they are installed."""

    def __init__(self, kube: Kube, lacks_pools: bool) -> None:
        self.kube = kube
        self.lacks_pools = lacks_pools
        self.looks = False
        self.gaps: list[str] = []
        """The writes after which nobody would have answered."""

    async def send(self, request: Request) -> bytes:
        self._check(request)
        answer = await self.kube.send(request)
        if self.looks and request.method != "GET" and not await answering(self.kube):
            self.gaps.append(f"{request.method} {request.path}")
        return answer

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        self._check(request)
        return self.kube.stream(request)

    def _check(self, request: Request) -> None:
        if self.lacks_pools and request.path.startswith(f"/apis/{POOLS.group}/"):
            raise errors.NotFound(errors.Status(code=404, message="the server could not find the requested resource"))


class Counted:
    """What the operator writes."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.writes: list[str] = []
        self.deletes: list[str] = []

    async def send(self, request: Request) -> bytes:
        if request.method != "GET" and "/events/" not in request.path:
            plural, name = request.path.removesuffix("/status").split("/")[-2:]
            what = "status" if request.path.endswith("/status") else f"{plural}/{name}"
            (self.deletes if request.method == "DELETE" else self.writes).append(what)
        return await self.kube.send(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.kube.stream(request)

    def clear(self) -> None:
        self.writes.clear()
        self.deletes.clear()

    @property
    def of_children(self) -> list[str]:
        return [what for what in self.writes if what != "status"]


async def answering(kube: Kube) -> list[str]:
    """The ready pods that the entry leads to."""
    user = User(kube)
    entries = [live for live in await user.objects(ENTRIES) if live["metadata"]["name"] == "qwen"]
    return [
        pod["metadata"]["name"]
        for entry in entries
        for pod in await user.objects(PODS)
        if entry["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))
    ]


class Story:
    """A user, nodes, the Deployment controller, and an operator whose writes are counted."""

    def __init__(self, *, lacks_pools: bool = False) -> None:
        self.memory = a_server()
        self.server = Watched(self.memory, lacks_pools)
        self.user = User(self.server)
        self.kube = Counted(self.server)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """All of them are at work, and the operator makes no mistakes."""
        others = [asyncio.create_task(actor(self.server).run()) for actor in (Nodes, Deployments)]
        try:
            async with an_operator(self.kube) as faults:
                yield
            assert faults == []
            assert self.server.gaps == []
        finally:
            for task in others:
                task.cancel()

    async def applies(self, *roles: Manifest, **spec: Any) -> None:
        """The user applies it, and all settles."""
        await self.user.apply("qwen", *roles, **spec)
        await asyncio.sleep(SETTLED_SECONDS)

    async def serves(self, *roles: Manifest) -> None:
        """The service is there and answers; from now on somebody always must, and writes are counted."""
        await self.applies(*roles)
        assert await self.said("Ready") == "True/Ready"
        self.server.looks = True
        self.kube.clear()

    async def said(self, kind: str) -> str:
        (service,) = await self.user.objects(SERVICES)
        return next(f"{c['status']}/{c['reason']}" for c in service["status"]["conditions"] if c["type"] == kind)

    async def selector(self) -> Manifest:
        entries = await self.user.objects(ENTRIES)
        return next(live["spec"]["selector"] for live in entries if live["metadata"]["name"] == "qwen")

    async def parts(self) -> list[str]:
        """The kinds that there are of the router's own."""
        user = User(self.memory)
        found = [part for resource in PARTS_OF_A_ROUTER for part in await user.objects(resource)]
        pickers = [live for live in await user.objects(ENTRIES) if live["metadata"]["name"] != "qwen"]
        return sorted(live["kind"] for live in (*found, *pickers))


def play(tell: Callable[[Story], Awaitable[None]], *, lacks_pools: bool = False) -> None:
    async def told() -> None:
        story = Story(lacks_pools=lacks_pools)
        async with story.told():
            await tell(story)

    virtual.run(told())


ALL_OF_IT = ["Deployment", "InferencePool", "RoleBinding", "Service", "ServiceAccount"]


def test_a_service_with_a_router_is_made_in_one_go() -> None:
    async def tell(story: Story) -> None:
        await story.applies(ENGINE, ROUTER)

        assert await story.said("Ready") == "True/Ready"
        assert await story.said("RouterReady") == "True/Routing"
        assert await story.selector() == TO_IT
        assert await answering(story.server)
        assert sorted(story.kube.writes[:7]) == [
            "deployments/qwen-entry", "inferencepools/qwen-entry", "rolebindings/qwen-entry",
            "serviceaccounts/qwen-entry", "services/qwen", "services/qwen-entry", "statefulsets/qwen-inference",
        ]  # fmt: skip
        assert story.kube.writes[7:] == ["status"] * len(story.kube.writes[7:])
        assert len(story.kube.writes) <= 10
        assert not story.kube.deletes

        story.kube.clear()
        await asyncio.sleep(600)
        assert story.kube.writes == []

    play(tell)


def test_a_service_with_a_router_is_available_only_once_the_router_answers() -> None:
    async def tell(story: Story) -> None:
        await story.applies(make.a_role(replicas=0), ROUTER)
        await story.user.apply("qwen", ENGINE, make.a_router(replicas=0))
        await asyncio.sleep(SETTLED_SECONDS)
        assert await story.said("WorkloadsReady") == "True/AllReplicasReady"
        assert await story.said("Available") == "False/ScaledToZero"

        await story.applies(ENGINE, ROUTER)
        assert await story.said("Available") == "True/Serving"

    play(tell)


def test_a_router_is_added_to_a_service_and_somebody_answers_all_the_while() -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE)

        await story.user.apply("qwen", ENGINE, ROUTER)
        await asyncio.sleep(0.5)
        assert await story.parts() == ALL_OF_IT
        assert await story.selector() != TO_IT
        assert "services/qwen" not in story.kube.writes

        await asyncio.sleep(SETTLED_SECONDS)
        assert await story.selector() == TO_IT
        assert story.kube.writes.count("services/qwen") == 1
        assert await story.said("Ready") == "True/Ready"
        assert not story.kube.deletes

    play(tell)


def test_a_service_stays_available_while_a_router_is_added() -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE)
        await story.user.apply("qwen", ENGINE, ROUTER)

        for _ in range(40):
            await asyncio.sleep(0.25)
            assert await story.said("Available") == "True/Serving"
        assert await story.said("RouterReady") == "True/Routing"

    play(tell)


def test_a_router_is_removed_with_all_of_it_and_somebody_answers_all_the_while() -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE, make.a_router(replicas=2))

        await story.applies(ENGINE)

        assert await story.parts() == []
        assert len(await answering(story.server)) == 2
        assert story.kube.writes[0] == "services/qwen"
        assert len(story.kube.deletes) == 6
        assert await story.said("Ready") == "True/Ready"
        assert await story.said("RouterReady") == "True/NotRequested"

    play(tell)


@pytest.mark.parametrize(
    "router",
    [
        pytest.param(make.a_router(strategy="queue-size"), id="strategy"),
        pytest.param(make.a_router(template=make.a_router_template(nodeSelector={"a": "b"})), id="template"),
    ],
)
def test_a_change_of_the_router_rolls_its_pods_and_nothing_else(router: Manifest) -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE, ROUTER)
        before = {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}

        await story.applies(ENGINE, router)

        assert story.kube.of_children == ["deployments/qwen-entry"]
        assert not story.kube.deletes
        after = {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}
        assert len(before - after) == len(after - before) == 1
        assert await story.said("Ready") == "True/Ready"

    play(tell)


def test_scaling_the_engines_writes_nothing_on_the_router() -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE, ROUTER)

        await story.applies(make.a_role(replicas=5), ROUTER)
        await story.applies(make.a_role(replicas=1), ROUTER)

        assert story.kube.of_children == ["statefulsets/qwen-inference"] * 2
        assert await story.said("Ready") == "True/Ready"

    play(tell)


def test_others_may_scale_a_router_whose_replicas_are_not_said() -> None:
    async def tell(story: Story) -> None:
        unsaid = {key: value for key, value in ROUTER.items() if key != "replicas"}
        await story.serves(ENGINE, unsaid)

        path = DEPLOYMENTS.path("default", "qwen-entry")
        body = b'{"spec": {"replicas": 3}}'
        await story.server.send(Request("PATCH", path, {"fieldManager": "hpa"}, body, "application/merge-patch+json"))
        await asyncio.sleep(SETTLED_SECONDS)

        assert story.kube.of_children == []
        (deployment,) = await story.user.objects(DEPLOYMENTS)
        assert deployment["spec"]["replicas"] == 3
        (service,) = await story.user.objects(SERVICES)
        assert service["status"]["components"]["entry"]["readyReplicas"] == 3
        assert await story.said("Ready") == "True/Ready"

    play(tell)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(make.a_router(name="gate"), id="another name"),
        pytest.param(make.a_router(pickerRelease="llm-d-router-0.10"), id="a release without a pool"),
        pytest.param(make.a_router(replicas=3), id="more pods"),
    ],
)
def test_somebody_answers_through_every_change_of_the_router(changed: Manifest) -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE, ROUTER)

        await story.applies(ENGINE, changed)
        assert await story.said("Ready") in ("True/Ready", "True/AcceptedWithWarnings")
        assert await story.selector() == names.router_labels("qwen", changed["name"])

        await story.applies(ENGINE, ROUTER)
        assert await story.said("Ready") == "True/Ready"
        assert await story.parts() == ALL_OF_IT

    play(tell)


# --- prompts and answers apart ---


def sides(prefill: int = 1, decode: int = 1, **container: Any) -> tuple[Manifest, ...]:
    return (*make.prefill_and_decode((prefill, decode), **container), ROUTER)


def test_prefillers_and_decoders_are_served_behind_one_router() -> None:
    async def tell(story: Story) -> None:
        await story.applies(*sides(2, 1))

        assert await story.said("Ready") == "True/Ready"
        assert await story.said("Accepted") == "True/Accepted"
        assert await story.selector() == TO_IT
        (pool,) = await story.user.objects(POOLS)
        selected = pool["spec"]["selector"]["matchLabels"].items()
        pods = {
            pod["metadata"]["labels"]["llm-d.ai/role"]
            for pod in await story.user.objects(PODS)
            if selected <= pod["metadata"]["labels"].items()
        }
        assert pods == {"prefill", "decode"}
        story.kube.clear()
        await asyncio.sleep(600)
        assert story.kube.writes == []

    play(tell)


@pytest.mark.parametrize(
    ("scaled", "written"), [((3, 1), "statefulsets/qwen-prefill"), ((1, 3), "statefulsets/qwen-decode")]
)
def test_scaling_one_side_writes_nothing_on_the_other(scaled: tuple[int, int], written: str) -> None:
    async def tell(story: Story) -> None:
        await story.serves(*sides())

        await story.applies(*sides(*scaled))

        assert story.kube.of_children == [written]
        assert await story.said("Ready") == "True/Ready"

    play(tell)


def test_a_router_is_added_to_both_sides_and_restarts_none_of_their_pods() -> None:
    async def tell(story: Story) -> None:
        prefill, decode, _ = sides()
        await story.applies(prefill, decode)
        before = {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}

        await story.applies(*sides())

        assert before <= {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}
        assert await story.said("Ready") == "True/Ready"

    play(tell)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({"minUncachedPromptTokens": 64}, {"deployments/qwen-entry"}),
        ({"connector": "nixl"}, set()),
    ],
)
def test_what_is_said_of_both_sides_is_written_where_it_matters(said: Manifest, written: set[str]) -> None:
    async def tell(story: Story) -> None:
        await story.serves(*sides())
        before = {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}

        await story.applies(*sides(), disaggregation=said)

        assert written <= set(story.kube.of_children)
        gone = before - {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}
        assert len(gone) == len(written)
        assert await story.said("Ready") == "True/Ready"

    play(tell)


# --- where pools are not installed ---


def test_a_router_is_made_once_pools_are_installed() -> None:
    async def tell(story: Story) -> None:
        await story.applies(ENGINE, ROUTER)

        assert await story.parts() == []
        assert await story.said("RouterReady") == await story.said("Ready") == "False/NotInstalled"
        assert await story.said("WorkloadsReady") == "True/AllReplicasReady"
        story.kube.clear()
        await asyncio.sleep(600)
        assert story.kube.writes == []

        story.server.lacks_pools = False
        await asyncio.sleep(SETTLED_SECONDS)
        assert await story.parts() == ALL_OF_IT
        assert await story.said("Ready") == "True/Ready"
        assert await answering(story.server)

    play(tell, lacks_pools=True)


def test_a_router_that_cannot_be_made_takes_nobody_from_the_engines() -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE)

        await story.applies(ENGINE, ROUTER)
        assert await story.said("RouterReady") == "False/NotInstalled"
        assert await story.said("Available") == "True/Serving"

        story.server.lacks_pools = False
        await asyncio.sleep(SETTLED_SECONDS)
        assert await story.selector() == TO_IT
        assert await story.said("Ready") == "True/Ready"

    play(tell, lacks_pools=True)


def test_a_router_goes_on_as_it_is_while_pools_are_gone() -> None:
    async def tell(story: Story) -> None:
        await story.serves(ENGINE, ROUTER)
        story.server.lacks_pools = True
        story.memory.end_watches()
        await asyncio.sleep(SETTLED_SECONDS)

        await story.applies(make.a_role(replicas=3), make.a_router(strategy="queue-size"))
        assert await story.said("RouterReady") == "False/NotInstalled"
        assert await story.selector() == TO_IT
        assert story.kube.of_children == ["statefulsets/qwen-inference"]
        assert not story.kube.deletes

        story.server.lacks_pools = False
        await asyncio.sleep(SETTLED_SECONDS)
        assert "deployments/qwen-entry" in story.kube.of_children
        assert await story.said("Ready") == "True/Ready"

    play(tell)
