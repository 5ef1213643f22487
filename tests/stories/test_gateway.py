"""A router behind a gateway whose controller is played, in virtual time: what is written, and who answers meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.kube.requests import Kube, Resource
from fusioninfer.reconcile.gateway_api import GATEWAYS, HTTP_ROUTES, POOLS
from fusioninfer.reconcile.snapshot import FOR_PROVIDERS, PODS, SERVICES
from tests import make, virtual
from tests.stories.played import Gateways, Lacking, User
from tests.stories.test_router import SETTLED_SECONDS, TO_IT, Story, Watched, answering

ENGINE = make.a_role(replicas=2)
ALONE, FOREIGN, OWN = make.a_router(), make.behind_a_gateway(), make.with_own_gateway()
GKE, _, ISTIO = FOR_PROVIDERS
NO_PROVIDERS = (GKE, ISTIO)


class Behind(Story):
    """A story with a played controller of gateways, in a cluster that lacks some groups of kinds."""

    def __init__(self, lacking: Iterable[Resource]) -> None:
        super().__init__()
        kube: Kube = self.memory
        self.lacking: dict[str, Lacking] = {}
        for resource in lacking:
            kube = self.lacking[resource.group] = Lacking(kube, resource)
        self.server = Watched(kube, lacks_pools=False)
        self.user = User(self.server)
        self.kube.kube = self.server
        self.gateways = Gateways(self.memory)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        playing = asyncio.create_task(self.gateways.run())
        try:
            async with super().told():
                yield
        finally:
            playing.cancel()

    def install(self, resource: Resource) -> None:
        self.lacking[resource.group].is_installed = True

    async def ways(self) -> list[tuple[str, str]]:
        (service,) = await self.user.objects(SERVICES)
        return [(address["name"], address["url"]) for address in service["status"]["addresses"]]

    async def there(self, *resources: Resource) -> list[str]:
        user = User(self.memory)
        return [live["kind"] for resource in resources for live in await user.objects(resource)]


def play(tell: Callable[[Behind], Awaitable[None]], lacking: Iterable[Resource] = NO_PROVIDERS) -> None:
    async def told() -> None:
        story = Behind(lacking)
        async with story.told():
            await tell(story)

    virtual.run(told())


CHILDREN = [
    "deployments/qwen-entry", "inferencepools/qwen-entry", "rolebindings/qwen-entry", "serviceaccounts/qwen-entry",
    "services/qwen", "services/qwen-entry", "statefulsets/qwen-inference",
]  # fmt: skip


@pytest.mark.parametrize(
    ("router", "more", "ways"),
    [
        (FOREIGN, [], [("gateway infra/public", "/default/qwen")]),
        (OWN, ["gateways/qwen-entry"], [("gateway default/qwen-entry", "http://192.0.2.7/default/qwen")]),
    ],
    ids=["somebody else's gateway", "its own"],
)
def test_a_service_behind_a_gateway_is_made_in_one_go_and_then_nothing_is_written(
    router: Manifest, more: list[str], ways: list[tuple[str, str]]
) -> None:
    async def tell(story: Behind) -> None:
        await story.user.apply("qwen", ENGINE, router)
        made = len(CHILDREN) + len(more)
        for _ in range(40):
            await asyncio.sleep(0.25)
            if len(story.kube.writes) > made and await story.said("Ready") == "True/Ready":
                break
        assert await story.said("Ready") == "True/Ready"
        assert len(story.kube.writes) <= made + 1 + 2, story.kube.writes

        await asyncio.sleep(SETTLED_SECONDS)
        assert await story.said("RouterReady") == "True/Routing"
        assert await story.ways() == [("cluster", "http://qwen.default.svc"), *ways]
        assert len(await answering(story.server)) == 2
        assert sorted(story.kube.writes[:made]) == sorted([*CHILDREN, *more])
        assert story.kube.of_children[made:] == ["httproutes/qwen-entry"]
        assert not story.kube.deletes

        story.kube.clear()
        rewritten = story.gateways.writes
        await asyncio.sleep(600)
        assert story.kube.writes == []
        assert story.gateways.writes >= rewritten + 2 * 595

    play(tell)


def test_what_gke_and_istio_read_is_made_where_they_are() -> None:
    async def tell(story: Behind) -> None:
        await story.applies(ENGINE, FOREIGN)

        assert await story.there(*FOR_PROVIDERS) == [resource.kind for resource in FOR_PROVIDERS]
        assert await story.said("Ready") == "True/Ready"

        await story.applies(ENGINE)
        assert await story.there(*FOR_PROVIDERS, HTTP_ROUTES, POOLS) == []

    play(tell, ())


@pytest.mark.parametrize("behind", [FOREIGN, OWN], ids=["somebody else's gateway", "its own"])
def test_somebody_answers_on_the_way_behind_a_gateway_and_back(behind: Manifest) -> None:
    async def tell(story: Behind) -> None:
        await story.serves(ENGINE, ALONE)
        assert await story.selector() == TO_IT

        await story.applies(ENGINE, behind)
        assert await story.said("Ready") == "True/Ready"
        assert await story.selector() == make.desired().entry["spec"]["selector"]
        assert len(await story.there(HTTP_ROUTES)) == 1

        await story.applies(ENGINE, ALONE)
        assert await story.said("Ready") == "True/Ready"
        assert await story.selector() == TO_IT
        assert await story.there(HTTP_ROUTES, GATEWAYS) == []
        assert await story.ways() == [("cluster", "http://qwen.default.svc")]
        assert len(await story.user.objects(PODS)) == 3

    play(tell)


def test_from_one_gateway_to_another_the_route_is_written_and_no_pod_is_replaced() -> None:
    async def tell(story: Behind) -> None:
        await story.serves(ENGINE, FOREIGN)
        before = {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)}

        await story.applies(ENGINE, make.behind_a_gateway("private"))

        assert await story.said("Ready") == "True/Ready"
        assert await story.ways() == [
            ("cluster", "http://qwen.default.svc"), ("gateway infra/private", "/default/qwen"),
        ]  # fmt: skip
        assert {pod["metadata"]["uid"] for pod in await story.user.objects(PODS)} == before
        assert not story.kube.deletes

    play(tell)


def test_a_router_is_made_once_the_gateway_api_is_installed() -> None:
    async def tell(story: Behind) -> None:
        await story.applies(ENGINE, FOREIGN)

        assert await story.parts() == []
        assert await story.said("RouterReady") == await story.said("Ready") == "False/NotInstalled"
        assert await story.said("WorkloadsReady") == "True/AllReplicasReady"
        assert len(await answering(story.server)) == 2
        story.kube.clear()
        await asyncio.sleep(600)
        assert story.kube.writes == []

        story.install(HTTP_ROUTES)
        await asyncio.sleep(SETTLED_SECONDS)
        assert len(await story.there(HTTP_ROUTES)) == 1
        assert await story.said("Ready") == "True/Ready"

    play(tell, (HTTP_ROUTES, *NO_PROVIDERS))


def test_gateways_of_istio_that_come_later_are_told_too() -> None:
    async def tell(story: Behind) -> None:
        await story.serves(ENGINE, FOREIGN)
        assert await story.there(ISTIO) == []

        story.install(ISTIO)
        await asyncio.sleep(SETTLED_SECONDS)
        assert story.kube.of_children == ["destinationrules/qwen-entry"]

    play(tell)


def test_a_route_that_comes_first_is_told_of_and_when_it_is_gone_too() -> None:
    """Written by the first service: the second one's own route claims a path that the first has."""
    rules = {"rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}]}]}

    async def told(story: Behind, name: str) -> str:
        service = next(one for one in await story.user.objects(SERVICES) if one["metadata"]["name"] == name)
        return next(f"{c['status']}/{c['reason']}" for c in service["status"]["conditions"] if c["type"] == "Ready")

    async def tell(story: Behind) -> None:
        await story.user.apply("first", ENGINE, make.behind_a_gateway(route=rules))
        await asyncio.sleep(SETTLED_SECONDS)
        await story.user.apply("second", ENGINE, make.behind_a_gateway(route=rules))
        await asyncio.sleep(SETTLED_SECONDS)
        assert [await told(story, name) for name in ("first", "second")] == ["True/Ready", "False/Shadowed"]

        await story.user.delete("first")
        await asyncio.sleep(SETTLED_SECONDS)
        assert await told(story, "second") == "True/Ready"

    play(tell)
