"""The server in memory, where no real one can be asked the same: its clock, its memory, its order, its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest

from fusioninfer.kube import errors, requests, watch
from fusioninfer.kube.memory import MemoryServer, Served
from fusioninfer.kube.requests import Manifest, Request, Resource

BOXES = Resource("tests.fusioninfer.io", "v1", "Box", "boxes")
NODES = Resource("", "v1", "Node", "nodes", namespaced=False)
LATER = 10_000


def a_box(name: str = "b", **spec: Any) -> Manifest:
    metadata = {"name": name, "namespace": "n"}
    return {"apiVersion": BOXES.api_version, "kind": BOXES.kind, "metadata": metadata, "spec": {"size": 1, **spec}}


class Hours:
    """A sleep that takes no time, but lets all others go first."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def _never(seconds: float) -> None:
    await asyncio.Event().wait()


def a_server(**options: Any) -> MemoryServer:
    uids = count(1)
    fixed = {"clock": lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "uids": lambda: f"uid-{next(uids)}"}
    return MemoryServer([Served(BOXES), Served(NODES)], **{**fixed, **options})


async def _apply(server: MemoryServer, manifest: Manifest) -> Manifest:
    live: Manifest = msgspec.json.decode(await server.send(requests.apply(BOXES, manifest, manager="us")))
    return live


def _watch(version: str, seconds: int = LATER) -> Request:
    return requests.watch(BOXES, "n", resource_version=version, timeout_seconds=seconds)


async def _version(server: MemoryServer) -> str:
    return watch.page(await server.send(requests.list_page(BOXES, "n"))).metadata.resourceVersion


def _frames(server: MemoryServer, request: Request) -> AsyncGenerator[bytes]:
    lines = server.stream(request)
    assert isinstance(lines, AsyncGenerator)
    return lines


async def test_times_and_uids_are_those_given() -> None:
    live = await _apply(a_server(), a_box())

    assert live["metadata"]["uid"] == "uid-1"
    assert live["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert live["metadata"]["managedFields"][0]["time"] == "2026-01-02T03:04:05Z"


async def test_the_time_of_an_entry_moves_only_when_the_object_changes() -> None:
    seconds = count()
    server = a_server(clock=lambda: datetime(2026, 1, 2, 3, 4, next(seconds), tzinfo=UTC))

    async def time_of_us(manifest: Manifest, manager: str = "us") -> str:
        live = msgspec.json.decode(await server.send(requests.apply(BOXES, manifest, manager=manager)))
        return next(str(entry["time"]) for entry in live["metadata"]["managedFields"] if entry["manager"] == "us")

    first = await time_of_us(a_box(colour="red"))
    assert await time_of_us(a_box(colour="red"), "them") == first
    assert await time_of_us(a_box()) == first, "they still hold the colour that we let go"
    assert await time_of_us(a_box(size=2)) > first


async def test_a_namespace_has_a_status_as_any_object() -> None:
    namespaces = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
    server = MemoryServer([Served(namespaces)])
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    made = await server.send(requests.apply(namespaces, namespace, manager="us"))

    assert await server.send(Request("GET", namespaces.path("", "x", "status"))) == made


async def test_the_same_requests_have_the_same_answers() -> None:
    async def told() -> list[bytes]:
        server = a_server(sleep=Hours().sleep)
        for name in "cab":
            await _apply(server, a_box(name))
        listed = await server.send(requests.list_page(BOXES, "n"))
        return [listed, *[line async for line in server.stream(_watch("0", 60))]]

    assert await told() == await told()


async def test_without_a_schema_anything_fits_and_maps_are_merged() -> None:
    server = a_server()
    await _apply(server, a_box(deep={"ours": 1}))
    patch = Request(
        "PATCH", BOXES.path("n", "b"), {}, b'{"spec": {"deep": {"theirs": 2}}}', "application/merge-patch+json"
    )
    await server.send(patch)

    live = await _apply(server, a_box(deep={"ours": 3}))

    assert live["spec"]["deep"] == {"ours": 3, "theirs": 2}


async def test_a_watch_lasts_as_long_as_it_asked_with_a_bookmark_every_minute() -> None:
    hours = Hours()
    server = a_server(sleep=hours.sleep)
    version = await _version(server)

    lines = [watch.frame(line) async for line in server.stream(_watch(version, 150))]

    assert hours.slept == [60, 60, 30]
    assert [line.type for line in lines] == ["BOOKMARK"] * 3
    assert watch.bookmark(lines[-1].object).resourceVersion == version


async def test_a_bookmark_is_past_what_happened_elsewhere() -> None:
    server = a_server(sleep=Hours().sleep)
    version = await _version(server)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}}
    await server.send(requests.apply(NODES, node, manager="us"))

    (line,) = [line async for line in server.stream(_watch(version, 1))]

    assert int(watch.bookmark(watch.frame(line).object).resourceVersion) == int(version) + 1


async def test_what_happened_before_the_kept_changes_is_gone() -> None:
    server = a_server(kept_changes=2, sleep=_never)
    versions = [(await _apply(server, a_box(size=size)))["metadata"]["resourceVersion"] for size in range(1, 5)]

    old = _frames(server, _watch(versions[0]))
    with pytest.raises(errors.Gone):
        watch.frame(await anext(old))
    kept = _frames(server, _watch(versions[1]))
    assert watch.frame(await anext(kept)).type == "MODIFIED"
    with pytest.raises(StopAsyncIteration):
        await anext(old)


async def test_a_watch_that_falls_behind_the_kept_changes_hears_that_they_are_gone() -> None:
    server = a_server(kept_changes=2, sleep=_never)
    lines = _frames(server, _watch(await _version(server)))
    await _apply(server, a_box())
    assert watch.frame(await anext(lines)).type == "ADDED"
    for size in range(2, 6):
        await _apply(server, a_box(size=size))

    with pytest.raises(errors.Gone):
        watch.frame(await anext(lines))


async def test_after_a_compaction_older_versions_are_gone_and_open_watches_go_on() -> None:
    server = a_server(sleep=_never)
    before = await _version(server)
    await _apply(server, a_box())
    lines = _frames(server, _watch(before))
    await anext(lines)

    server.forget()

    with pytest.raises(errors.Gone):
        watch.frame(await anext(_frames(server, _watch(before))))
    await _apply(server, a_box(size=2))
    assert watch.frame(await anext(lines)).type == "MODIFIED"


async def test_a_continue_token_expires_with_what_happened() -> None:
    server = a_server(kept_changes=2)
    for name in "abc":
        await _apply(server, a_box(name))
    page = watch.page(await server.send(requests.list_page(BOXES, "n", limit=1)))
    rest = requests.list_page(BOXES, "n", continue_token=page.metadata.continue_token)
    for size in (2, 3):
        await _apply(server, a_box("a", size=size))
    assert len(watch.page(await server.send(rest)).items or ()) == 2
    await _apply(server, a_box("a", size=4))

    with pytest.raises(errors.Gone):
        await server.send(rest)


async def test_watches_can_be_ended_and_begun_again() -> None:
    server = a_server(sleep=_never)
    version = await _version(server)

    async def hear() -> list[str]:
        return [watch.frame(line).type async for line in server.stream(_watch(version))]

    listening = asyncio.create_task(hear())
    await asyncio.sleep(0)
    await _apply(server, a_box())
    await asyncio.sleep(0)
    server.end_watches()

    assert [kind for kind in await listening if kind != "BOOKMARK"] == ["ADDED"]
    assert watch.frame(await anext(_frames(server, _watch(version)))).type == "ADDED"


async def test_whoever_stops_listening_is_forgotten() -> None:
    server = a_server(sleep=_never)
    version = await _version(server)

    async def hear() -> None:
        async for _ in server.stream(_watch(version)):
            pass

    listening = asyncio.create_task(hear())
    await asyncio.sleep(0)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening

    await _apply(server, a_box())
    assert len(asyncio.all_tasks()) == 1


def test_it_can_be_asked_from_one_event_loop_after_another() -> None:
    server = a_server(sleep=_never)

    async def hear_once() -> None:
        lines = _frames(server, _watch("0"))
        reading = asyncio.create_task(anext(lines))
        await asyncio.sleep(0)
        reading.cancel()

    asyncio.run(hear_once())

    asyncio.run(_apply(server, a_box()))


async def test_many_watches_hear_the_same() -> None:
    server = a_server(sleep=_never)
    version = await _version(server)

    async def hear() -> list[bytes]:
        lines = _frames(server, _watch(version))
        return [await anext(lines) for _ in range(3)]

    listening = [asyncio.create_task(hear()) for _ in range(5)]
    await asyncio.sleep(0)
    for size in (1, 2, 3):
        await _apply(server, a_box(size=size))
        await asyncio.sleep(0)

    first, *others = await asyncio.gather(*listening)
    assert all(other == first for other in others)


async def test_an_owner_of_a_kind_that_is_not_served_is_taken_to_be_there() -> None:
    server = a_server()
    owner = {"apiVersion": "other/v1", "kind": "Other", "name": "o", "uid": "u"}
    box = a_box()
    box["metadata"]["ownerReferences"] = [owner]

    await _apply(server, box)

    await server.send(requests.get(BOXES, "n", "b"))


@pytest.mark.parametrize("name", ["fieldSelector", "dryRun", "sendInitialEvents"])
async def test_what_is_not_understood_is_refused_and_not_ignored(name: str) -> None:
    server = a_server()

    with pytest.raises(errors.Refused):
        await server.send(Request("GET", BOXES.path("n"), {name: "x"}))


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(Request("POST", BOXES.path("n", "b"), body=b"{}"), id="a creation at a name"),
        pytest.param(Request("DELETE", BOXES.path("n")), id="the deletion of all"),
        pytest.param(Request("DELETE", BOXES.path("n", "b", "status")), id="the deletion of a status"),
        pytest.param(Request("OPTIONS", BOXES.path("n", "b")), id="no verb of ours"),
    ],
)
async def test_a_verb_that_a_path_does_not_have_is_refused(request_: Request) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await a_server().send(request_)

    assert refusal.value.status.code == 405


@pytest.mark.parametrize("path", ["/", "/version", "/api/v1", BOXES.path("", "b"), BOXES.path("n", "b", "scale")])
async def test_a_path_at_which_nothing_is_served_is_not_found(path: str) -> None:
    with pytest.raises(errors.NotFound):
        await a_server().send(Request("GET", path))
