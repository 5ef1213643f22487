"""Watches: what they hear, in which order, and from where they can go on."""

from __future__ import annotations

import asyncio

import msgspec

from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import METADATA_ONLY, Manifest
from tests.contract.widgets import CONFIG_MAPS, WIDGETS, Namespace, a_config_map, a_widget

ONE_METADATA = METADATA_ONLY.replace("PartialObjectMetadataList", "PartialObjectMetadata")


async def _heard(
    world: Namespace, version: str, count: int, *, labels: str = "", accept: str = requests.JSON
) -> list[Manifest]:
    """The next `count` frames about objects after `version`."""
    watch = requests.watch(
        WIDGETS, world.name, labels=labels, resource_version=version, timeout_seconds=20, accept=accept
    )
    frames = world.frames(watch)
    heard: list[Manifest] = []
    while len(heard) < count:
        frame = await anext(frames)
        if frame["type"] != "BOOKMARK":
            heard.append(frame)
    await frames.aclose()
    return heard


def _told(frames: list[Manifest]) -> list[tuple[str, str]]:
    return [(frame["type"], frame["object"]["metadata"]["name"]) for frame in frames]


async def test_a_watch_hears_all_that_happens_in_order(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    await world.apply(WIDGETS, a_widget("a"))
    live = await world.apply(WIDGETS, a_widget("b"))
    changed = await world.apply(WIDGETS, a_widget("a", spec={"replicas": 1}))
    await world.delete(WIDGETS, live)

    frames = await _heard(world, version, 4)

    assert _told(frames) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert frames[2]["object"] == changed
    versions = [int(frame["object"]["metadata"]["resourceVersion"]) for frame in frames]
    assert versions == sorted(set(versions))


async def test_a_watch_hears_what_happens_while_it_lasts(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    listening = asyncio.create_task(_heard(world, version, 2))
    await asyncio.sleep(0.05)
    await world.apply(WIDGETS, a_widget("a"))
    await world.apply(WIDGETS, a_widget("b"))

    assert _told(await listening) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_goes_on_from_where_another_ended(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    for name in "abc":
        await world.apply(WIDGETS, a_widget(name))
    first = await _heard(world, version, 1)

    rest = await _heard(world, first[0]["object"]["metadata"]["resourceVersion"], 2)

    assert _told(first + rest) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


async def test_a_write_that_changes_nothing_is_not_heard(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    await world.apply(WIDGETS, a_widget("a"))
    await world.apply(WIDGETS, a_widget("a"))
    await world.apply(WIDGETS, a_widget("b"))

    assert _told(await _heard(world, version, 2)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_what_is_deleted_is_told_as_it_was_last_with_the_version_of_its_end(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    version = await world.version(WIDGETS)
    await world.delete(WIDGETS, live)

    (frame,) = await _heard(world, version, 1)

    assert frame["type"] == "DELETED"
    assert frame["object"]["spec"] == live["spec"]
    assert int(frame["object"]["metadata"]["resourceVersion"]) > int(live["metadata"]["resourceVersion"])


async def test_what_stops_to_match_is_deleted_and_what_begins_to_is_added(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    await world.apply(WIDGETS, a_widget("other"))
    await world.apply(WIDGETS, a_widget("w", labels={"l": "1"}))
    await world.apply(WIDGETS, a_widget("w", labels={"l": "1"}, spec={"replicas": 1}))
    unlabelled = await world.apply(WIDGETS, a_widget("w"))
    await world.apply(WIDGETS, a_widget("w", spec={"replicas": 7}))
    await world.apply(WIDGETS, a_widget("w", labels={"l": "1"}))

    frames = await _heard(world, version, 4, labels="l=1")

    assert _told(frames) == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w"), ("ADDED", "w")]
    gone = frames[2]["object"]
    assert gone["metadata"]["resourceVersion"] == unlabelled["metadata"]["resourceVersion"]
    assert gone["metadata"]["labels"] == {"l": "1"}, "the last state that matched"


async def test_a_watch_from_nowhere_begins_with_what_is_there(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget("b"))
    await world.apply(WIDGETS, a_widget("a"))

    frames = await _heard(world, "", 2)

    assert sorted(_told(frames)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_other_kinds_and_namespaces_are_not_heard(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    await world.apply(CONFIG_MAPS, a_config_map())
    await world.apply(WIDGETS, a_widget("a"))

    assert _told(await _heard(world, version, 1)) == [("ADDED", "a")]


async def test_metadata_can_be_watched_alone(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    live = await world.apply(WIDGETS, a_widget())

    (frame,) = await _heard(world, version, 1, accept=ONE_METADATA)

    assert frame["object"]["kind"] == "PartialObjectMetadata"
    assert frame["object"]["metadata"] == live["metadata"]
    assert "spec" not in frame["object"]


async def test_a_watch_from_a_version_to_come_waits_for_it(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())
    watch = requests.watch(WIDGETS, world.name, resource_version=str(10**9), timeout_seconds=1)

    assert [frame async for frame in world.frames(watch) if frame["type"] != "BOOKMARK"] == []


async def test_a_version_that_is_too_old_is_gone(world: Namespace) -> None:
    """Told in a frame of type ERROR, not in the status of the answer."""
    (frame,) = await _heard(world, "1", 1)

    assert frame["type"] == "ERROR"
    assert frame["object"]["code"] == 410
    assert isinstance(errors.error_from(410, msgspec.json.encode(frame["object"])), errors.Gone)


async def test_a_watch_ends_when_its_time_is_over(world: Namespace) -> None:
    version = await world.version(WIDGETS)
    await world.apply(WIDGETS, a_widget())
    watch = requests.watch(WIDGETS, world.name, resource_version=version, timeout_seconds=1)

    frames = [frame async for frame in world.frames(watch)]

    assert [frame["type"] for frame in frames if frame["type"] != "BOOKMARK"] == ["ADDED"]
