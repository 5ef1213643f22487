"""The stages in order, in virtual time, against an API server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fusioninfer.api.service import Manifest
from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.snapshot import EVENTS, PODS, SERVICES, STATEFUL_SETS
from tests import make, virtual
from tests.stories.played import NAMESPACE, Nodes, User, a_server, an_operator


class Counting:
    """Counts the writes that go through, by what they are of."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.writes: list[str] = []
        self.refuse: errors.KubeError | None = None

    async def send(self, request: Request) -> bytes:
        if request.method != "GET":
            if self.refuse is not None and "/statefulsets/" in request.path:
                raise self.refuse
            self.writes.append("status" if request.path.endswith("/status") else request.path.split("/")[-2])
        return await self.kube.send(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.kube.stream(request)


class Story:
    """A user, nodes, and an operator whose writes are counted."""

    def __init__(self) -> None:
        self.server = a_server()
        self.user = User(self.server)
        self.nodes = Nodes(self.server)
        self.kube = Counting(self.server)

    async def service(self) -> Manifest:
        (service,) = await self.user.objects(SERVICES)
        return service

    async def ready(self) -> Manifest:
        conditions: list[Manifest] = (await self.service())["status"]["conditions"]
        return next(condition for condition in conditions if condition["type"] == "Ready")

    async def set_pod(self, **status: Any) -> None:
        await self.nodes._patch(PODS, "qwen-inference-0", {"status": status}, "status")


def test_the_children_and_the_first_status_are_written_in_the_first_turn() -> None:
    async def story() -> list[str]:
        told = Story()
        async with an_operator(told.kube):
            await told.user.apply("qwen", make.a_role(replicas=1))
            await asyncio.sleep(0.01)
            return list(told.kube.writes)

    assert sorted(virtual.run(story())) == ["services", "statefulsets", "status"]


def test_a_service_that_is_not_ready_says_so_from_the_first_moment() -> None:
    async def story() -> Manifest:
        told = Story()
        async with an_operator(told.kube):
            await told.user.apply("qwen", make.a_role(replicas=1))
            await asyncio.sleep(0.01)
            return await told.ready()

    ready = virtual.run(story())
    assert (ready["status"], ready["reason"]) == ("False", "PodsMissing")


def test_what_flaps_is_told_once_in_five_minutes() -> None:
    async def story(minutes: int) -> int:
        told = Story()
        nodes = asyncio.create_task(told.nodes.run())
        async with an_operator(told.kube):
            await told.user.apply("qwen", make.a_role(replicas=1))
            await asyncio.sleep(10)
            nodes.cancel()  # which would mend what flaps
            for _ in range(minutes):
                for answer in ("False", "True"):
                    await told.set_pod(phase="Running", conditions=[{"type": "Ready", "status": answer}])
                    await asyncio.sleep(30)
        return told.kube.writes.count("events")

    # Ready, and not ready any more: each at once, and again when five minutes are over.
    assert virtual.run(story(minutes=4)) == 2
    assert virtual.run(story(minutes=9)) == 4


async def refused(error: errors.ApiError, seconds: float, then: float) -> tuple[Manifest, Manifest]:
    """Ready while every write is answered by `error`, which lasts `seconds`; and `then` seconds after its end."""
    told = Story()
    told.kube.refuse = error
    nodes = asyncio.create_task(told.nodes.run())
    async with an_operator(told.kube):
        await told.user.apply("qwen", make.a_role(replicas=1))
        await asyncio.sleep(seconds)
        during = await told.ready()
        told.kube.refuse = None
        await asyncio.sleep(then)
        after = await told.ready()
    nodes.cancel()
    return during, after


def test_a_write_that_is_refused_for_now_is_tried_again_and_the_status_names_it() -> None:
    overloaded = errors.Unavailable(errors.Status(code=503, reason="ServiceUnavailable", message="overloaded"))

    during, after = virtual.run(refused(overloaded, seconds=5, then=65))

    assert during["reason"] == "APIServerUnavailable"
    assert "overloaded" in during["message"]
    assert after["status"] == "True"


def test_a_webhook_that_comes_back_after_a_long_time_is_not_waited_for_long() -> None:
    silent = errors.WebhookDown(
        errors.Status(code=500, reason="InternalError", message='failed calling webhook "vsts.example.com"')
    )

    during, after = virtual.run(refused(silent, seconds=600, then=10))

    assert during["reason"] == "WebhookDown"
    assert "vsts.example.com" in during["message"]
    assert after["status"] == "True"


def test_a_service_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    async def story() -> list[str]:
        told = Story()
        nodes = asyncio.create_task(told.nodes.run())
        async with an_operator(told.kube):
            await told.user.apply("qwen", make.a_role(replicas=1))
            await asyncio.sleep(20)
            path = SERVICES.path(NAMESPACE, "qwen")
            holding = {"metadata": {"finalizers": ["example.org/held"]}}
            await told.nodes._patch(SERVICES, "qwen", holding)
            await told.server.send(Request("DELETE", path))
            await asyncio.sleep(1)
            before = len(told.kube.writes)
            await told.server.send(Request("DELETE", STATEFUL_SETS.path(NAMESPACE, "qwen-inference")))
            await asyncio.sleep(20)
        nodes.cancel()
        return told.kube.writes[before:]

    assert virtual.run(story()) == []


def test_events_are_objects_of_the_namespace() -> None:
    async def story() -> list[Manifest]:
        told = Story()
        async with an_operator(told.kube):
            await told.user.apply("qwen", make.a_role(), make.a_router(gateway={}))
            await asyncio.sleep(1)
        return await told.user.objects(EVENTS)

    (event,) = virtual.run(story())
    assert event["reason"] == "InvalidSpec"
    assert event["metadata"]["name"].startswith("qwen.")
    assert requests.get(EVENTS, NAMESPACE, event["metadata"]["name"]).path.endswith(event["metadata"]["name"])


def test_the_words_about_a_deleted_service_do_not_land_on_a_new_one_of_its_name() -> None:
    class Replacing(Counting):
        """Deletes the service and makes it anew right before its first status is written."""

        async def send(self, request: Request) -> bytes:
            if request.path.endswith("/status") and not self.writes.count("status"):
                await self.kube.send(Request("DELETE", SERVICES.path(NAMESPACE, "qwen")))
                await User(self.kube).apply("qwen", make.a_role(), make.a_router(gateway={}))
            return await super().send(request)

    async def story() -> list[str]:
        told = Story()
        seen: list[str] = []
        async with an_operator(Replacing(told.server)):
            await told.user.apply("qwen", make.a_role(replicas=1))
            for _ in range(100):
                await asyncio.sleep(0.01)
                service = await told.service()
                if "status" in service:
                    seen.append(service["status"]["conditions"][0]["reason"])
        return seen

    assert set(virtual.run(story())) == {"InvalidSpec"}
