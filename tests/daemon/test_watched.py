"""Which services are looked at again for which change of a route: their own, and those that it competes with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.daemon.queue import Queue
from fusioninfer.daemon.watched import watched
from fusioninfer.kube import requests
from fusioninfer.kube.memory import MERGE_PATCH
from fusioninfer.kube.requests import Request
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES
from fusioninfer.reconcile.observe import Caches
from fusioninfer.reconcile.snapshot import Key
from tests import make, virtual
from tests.stories.played import NAMESPACE, a_server

PUBLIC = {"name": "public", "namespace": "infra"}


def a_rule(path: str) -> Manifest:
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}]}


class Asked(Queue[Key]):
    """Keeps what it is asked for, and hands out nothing."""

    def __init__(self, asked: set[Key]) -> None:
        super().__init__(monotonic=virtual.clock)
        self._asked = asked

    def add(self, key: Key, after: float = 0.0) -> None:
        self._asked.add(key)


class Routes:
    """An API server, and which services were asked for since `news` was last called."""

    def __init__(self) -> None:
        self.server = a_server()
        self.asked: set[Key] = set()
        self.watched = watched(self.server, Asked(self.asked), "")

    async def make(self, name: str, *paths: str, service: str = "", **spec: Any) -> None:
        live = make.a_route(name, route={"parentRefs": [PUBLIC], "rules": [a_rule(path) for path in paths], **spec})
        del live["metadata"]["uid"], live["metadata"]["generation"], live["metadata"]["creationTimestamp"]
        live["metadata"]["labels"] = {names.SERVICE_LABEL: service} if service else {}
        body = msgspec.json.encode(live)
        await self.server.send(
            Request("POST", HTTP_ROUTES.path(NAMESPACE), body=body, content_type=requests.JSON)
        )  # fmt: skip

    async def change(self, name: str, subresource: str = "", **parts: Any) -> None:
        path = HTTP_ROUTES.path(NAMESPACE, name, subresource)
        await self.server.send(Request("PATCH", path, {"fieldManager": "x"}, msgspec.json.encode(parts), MERGE_PATCH))

    async def delete(self, name: str) -> None:
        await self.server.send(Request("DELETE", HTTP_ROUTES.path(NAMESPACE, name)))

    async def news(self) -> set[str]:
        await asyncio.sleep(0.1)
        asked = {key.name for key in self.asked}
        self.asked.clear()
        return asked


def play(tell: Callable[[Routes], Awaitable[None]]) -> None:
    async def told() -> None:
        routes = Routes()
        following = [asyncio.create_task(cache.run()) for cache in routes.watched.caches.values()]
        for cache in routes.watched.caches.values():
            await cache.synced.wait()
        await routes.make("qwen-entry", "/default/qwen", service="qwen")
        await routes.make("llama-entry", "/default/llama", service="llama")
        assert await routes.news() == {"qwen", "llama"}
        await tell(routes)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    virtual.run(told())


def accepted(at: str = "2026-11-24T12:00:00Z", status: str = "True") -> Manifest:
    (condition,) = make.told("Accepted", Accepted=f"{status}/Accepted")
    return {"parents": [make.by_parent({**condition, "lastTransitionTime": at})]}


def test_a_strangers_route_that_claims_the_same_is_news_for_those_whose_requests_it_takes() -> None:
    async def tell(routes: Routes) -> None:
        await routes.make("theirs", "/web", "/default/qwen/")
        assert await routes.news() == {"qwen"}

        await routes.change("theirs", "status", status=accepted())
        assert await routes.news() == {"qwen"}
        await routes.change("theirs", "status", status=accepted("2026-11-24T13:00:00Z"))
        assert await routes.news() == set()
        await routes.change("theirs", "status", status=accepted(status="False"))
        assert await routes.news() == {"qwen"}

        await routes.delete("theirs")
        assert await routes.news() == {"qwen"}

    play(tell)


def test_a_strangers_route_that_lets_go_of_one_and_takes_another_is_news_for_both() -> None:
    async def tell(routes: Routes) -> None:
        await routes.make("theirs", "/default/qwen")
        assert await routes.news() == {"qwen"}

        await routes.change("theirs", spec={"rules": [a_rule("/default/llama")]})
        assert await routes.news() == {"qwen", "llama"}

    play(tell)


def test_other_routes_are_no_news_for_anybody() -> None:
    async def tell(routes: Routes) -> None:
        await routes.make("other-path", "/web")
        await routes.make("other-gateway", "/default/qwen", parentRefs=[{"name": "private"}])
        await routes.make("other-listener", "/default/qwen", parentRefs=[{**PUBLIC, "sectionName": "https"}])
        await routes.make("other-host", "/default/qwen", hostnames=["a.example"])
        await routes.change("other-path", "status", status=accepted())
        await routes.delete("other-host")
        assert await routes.news() == set()

    play(tell)


def test_of_two_services_each_hears_of_the_others_route_that_claims_the_same() -> None:
    async def tell(routes: Routes) -> None:
        await routes.change("llama-entry", spec={"rules": [a_rule("/default/qwen")]})
        assert await routes.news() == {"qwen", "llama"}

        await routes.change("qwen-entry", "status", status=accepted())
        assert await routes.news() == {"qwen", "llama"}

    play(tell)


def test_a_route_is_no_rival_of_itself_and_without_our_label_nobodys_child() -> None:
    async def tell(routes: Routes) -> None:
        await routes.make("theirs", "/default/qwen")
        await routes.news()
        cache = routes.watched.caches[HTTP_ROUTES.kind]
        found = {live.metadata.name: live for live in cache}
        caches = Caches(routes.watched.caches["InferenceService"], cache, {HTTP_ROUTES: cache})

        assert found.keys() == {"qwen-entry", "llama-entry", "theirs"}
        assert [rival.metadata.name for rival in caches.rivals(found["qwen-entry"])] == ["theirs"]
        assert [rival.metadata.name for rival in caches.rivals(found["llama-entry"])] == []
        assert [live.metadata.name for live in cache.select(Key(NAMESPACE, "qwen"))] == ["qwen-entry"]

    play(tell)
