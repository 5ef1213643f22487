"""A cache is what the API server has, whatever happens between them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Hashable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fusioninfer.kube import errors
from fusioninfer.kube.cache import GRAVES, Cache, Store
from fusioninfer.kube.objects import Object
from fusioninfer.kube.requests import METADATA_ONLY
from tests.kube.scripted import (
    THINGS,
    Careless,
    Heard,
    Naps,
    OwnedThing,
    Script,
    Thing,
    a_thing,
    added,
    bookmark,
    deleted,
    error_frame,
    frame,
    modified,
    page,
    play,
    raw,
)


def an_error(code: int, retry_after_seconds: float = 0.0) -> errors.ApiError:
    return errors.error_from(code, b"{}", retry_after_seconds)


def by_size(thing: Thing) -> int:
    return thing.size


def a_cache(script: Script, **fields: Any) -> Cache[Thing]:
    """A cache that sleeps in no time and whose dice always show 0."""
    return Cache(script, THINGS, Thing, **{"sleep": Naps(), "random": lambda: 0.0, "index_by": by_size, **fields})


def names(cache: Cache[Thing]) -> set[str]:
    return {thing.metadata.name for thing in cache}


# --- list, watch, resume ---


async def test_pages_are_read_to_the_last() -> None:
    script = Script(page(9, raw("a", 1), more="to b"), page(9, raw("b", 2), more="to c"), page(9, raw("c", 3)))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a", "b", "c"}
    assert [request.query.get("continue") for request in script.lists] == [None, "to b", "to c"]


async def test_it_is_synced_after_the_last_page_and_not_before() -> None:
    synced: list[bool] = []
    script = Script(page(9, raw("a", 1), more="to b"), page(9, raw("b", 2)))
    cache: Cache[Thing] = a_cache(script, on_change=lambda old, new: synced.append(cache.synced.is_set()))

    await play(script, cache)

    assert synced == [False, False]
    assert cache.synced.is_set()


async def test_an_expired_continue_token_starts_the_list_anew() -> None:
    script = Script(page(9, raw("a", 1), more="to b"), an_error(410), page(12, raw("b", 2)))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"b"}
    assert [request.query.get("continue") for request in script.lists] == [None, "to b", None]
    assert script.watched_from == ["12"]


async def test_the_null_that_go_writes_for_an_empty_list_is_one() -> None:
    script = Script(b'{"metadata":{"resourceVersion":"4"},"items":null}')
    cache = a_cache(script)

    await play(script, cache)

    assert len(cache) == 0
    assert cache.synced.is_set()


async def test_what_happens_is_taken_in_and_told() -> None:
    heard = Heard()
    script = Script(page(5, raw("a", 1, size=1))).then_watch(
        added("b", 6, size=2), modified("a", 7, size=3), deleted("b", 8, size=2)
    )
    cache = a_cache(script, on_change=heard)

    await play(script, cache)

    assert heard.changes == [("a", None, 1), ("b", None, 2), ("a", 1, 3), ("b", 2, None)]
    assert cache.get("default", "a") == a_thing("a", 7, size=3)
    assert cache.get("default", "b") is None


async def test_a_watch_that_ended_is_resumed_from_what_was_seen_last() -> None:
    ended: list[int] = []
    script = (
        Script(page(5))
        .then_watch(lambda: ended.append(cache.reconnects), added("a", 6))
        .then_watch(deleted("a", 9))
        .then_watch(lambda: ended.append(cache.reconnects), bookmark(20))
    )
    cache = a_cache(script)

    await play(script, cache)

    assert script.watched_from == ["5", "6", "9", "20"]
    assert ended == [0, 2]
    assert len(script.lists) == 1


async def test_a_bookmark_tells_of_nothing() -> None:
    heard = Heard()
    script = Script(page(5, raw("a", 1))).then_watch(bookmark(20))

    await play(script, a_cache(script, on_change=heard))

    assert heard.changes == [("a", None, 0)]


async def test_frames_of_an_unknown_type_are_passed_over() -> None:
    script = Script(page(5)).then_watch(frame("RUMOUR", {"any": "thing"}), added("a", 6))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a"}


@pytest.mark.parametrize(("dice", "seconds"), [pytest.param(0.0, 300, id="least"), pytest.param(0.999, 599, id="most")])
async def test_watches_are_asked_to_last_between_five_and_ten_minutes(dice: float, seconds: int) -> None:
    script = Script(page(5))

    await play(script, a_cache(script, random=lambda: dice))

    assert script.asked[-1].query["timeoutSeconds"] == str(seconds)
    assert script.asked[-1].query["allowWatchBookmarks"] == "true"


async def test_the_selection_is_asked_for() -> None:
    script = Script(page(5))

    await play(script, a_cache(script, namespace="llm", labels="mine"))

    assert [request.path for request in script.asked] == ["/apis/example.com/v1/namespaces/llm/things"] * 2
    assert [request.query["labelSelector"] for request in script.asked] == ["mine", "mine"]


async def test_metadata_is_listed_as_a_list_and_watched_one_by_one() -> None:
    script = Script(page(5))

    await play(script, a_cache(script, accept=METADATA_ONLY))

    assert [request.accept for request in script.asked] == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    ]


# --- listing anew ---


@pytest.mark.parametrize(
    "too_old", [pytest.param(an_error(410), id="as status"), pytest.param(error_frame(410), id="in the stream")]
)
async def test_gone_lists_anew_and_tells_only_of_what_differs(too_old: bytes | Exception) -> None:
    heard = Heard()
    script = (
        Script(
            page(5, raw("same", 1), raw("grown", 2, size=1), raw("missed", 3)),
            page(50, raw("same", 1), raw("grown", 40, size=2), raw("new", 41)),
        )
        .then_watch(too_old)
        .then_watch(added("later", 51))
    )
    cache = a_cache(script, on_change=heard)

    await play(script, cache)

    assert heard.changes[3:] == [("grown", 1, 2), ("new", None, 0), ("missed", 0, None), ("later", None, 0)]
    assert script.watched_from == ["5", "50", "51"]
    assert cache.relists == 2


async def test_after_five_failures_without_a_word_nothing_is_built_upon() -> None:
    """An event that can't be read, or a watch that stays silent, is not waited out for ever."""
    silence = errors.Unreachable("idle")
    script = Script(page(5), page(8, raw("a", 7)))
    for _ in range(5):
        script.then_watch(silence)
    cache = a_cache(script)

    await play(script, cache)

    assert script.watched_from == ["5"] * 5 + ["8"]
    assert names(cache) == {"a"}


async def test_what_a_restored_etcd_has_is_believed_though_its_versions_are_smaller() -> None:
    heard = Heard()
    script = (
        Script(
            page(900, raw("a", 800, size=9), raw("b", 801), raw("c", 80), raw("same", 50)),
            page(100, raw("a", 90, size=1), raw("c", 80, size=8), raw("same", 50)),
        )
        .then_watch(deleted("c", 901), an_error(410))
        .then_watch(modified("a", 101, size=2), modified("c", 102, size=3))
    )
    cache = a_cache(script, on_change=heard)

    await play(script, cache)

    assert heard.changes[5:] == [("a", 9, 1), ("c", None, 8), ("b", 0, None), ("a", 1, 2), ("c", 8, 3)]


async def test_pages_get_smaller_while_lists_fail() -> None:
    """A page of large objects may exceed what the client takes in, or the time that it waits."""
    too_large = errors.Unreachable("the answer is larger than 67108864 bytes")
    script = Script(*[too_large] * 7, page(5, more="to b"), page(5))

    await play(script, a_cache(script))

    assert [int(request.query["limit"]) for request in script.lists] == [500, 250, 125, 62, 31, 16, 16, 16, 16]


# --- faults ---


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(added("b", 7)[:-9], id="cut short"),
        pytest.param(b"<html>504</html>", id="not JSON"),
        pytest.param(b"[1, 2]", id="other JSON"),
        pytest.param(b'{"type":"ADDED"}', id="without an object"),
        pytest.param(frame("BOOKMARK", "nonsense"), id="a bookmark of nothing"),
        pytest.param(frame("ERROR", "nonsense"), id="an error of nothing"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
    ],
)
async def test_garbage_in_a_watch_is_counted_and_the_watch_resumed_before_it(line: bytes) -> None:
    script = Script(page(5)).then_watch(added("a", 6), line, added("never", 8)).then_watch(added("b", 7))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a", "b"}
    assert cache.garbage == 1
    assert script.watched_from[:2] == ["5", "6"]


async def test_a_page_that_is_garbage_is_asked_for_again() -> None:
    script = Script(b"<html>", page(5, raw("a", 1)))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a"}
    assert cache.garbage == 1


async def test_a_watch_that_is_given_up_is_closed() -> None:
    script = Script(page(5)).then_watch(b"garbage", added("never", 6))

    await play(script, a_cache(script))

    assert script.closed == 1


async def test_failures_are_followed_by_longer_and_longer_pauses_up_to_half_a_minute() -> None:
    naps = Naps()
    script = Script(*[errors.Unreachable("refused")] * 12)

    await play(script, a_cache(script, sleep=naps, random=lambda: 1.0))

    assert naps.seconds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]


async def test_pauses_are_half_chance() -> None:
    naps = Naps()
    script = Script(*[errors.Unreachable("refused")] * 2)

    await play(script, a_cache(script, sleep=naps, random=lambda: 0.0))

    assert naps.seconds == [0.05, 0.1]


async def test_a_word_from_the_api_server_makes_the_next_pause_short_again() -> None:
    naps = Naps()
    reset = errors.Unreachable("reset")
    script = Script(reset, reset, page(5)).then_watch(reset).then_watch(reset).then_watch(added("a", 6), reset)

    await play(script, a_cache(script, sleep=naps, random=lambda: 1.0))

    assert naps.seconds == [0.1, 0.2, 0.1, 0.2, 0.1]


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        pytest.param(5.0, 5.0, id="as asked"),
        pytest.param(0.01, 0.1, id="our own pause is longer"),
        pytest.param(86400.0, 60.0, id="a day is too much"),
    ],
)
async def test_retry_after_is_honoured(asked: float, waited: float) -> None:
    naps = Naps()
    script = Script(an_error(429, asked), page(5))

    await play(script, a_cache(script, sleep=naps, random=lambda: 1.0))

    assert naps.seconds == [waited]


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_at_full_speed() -> None:
    naps = Naps()
    script = Script(page(5)).then_watch().then_watch()

    await play(script, a_cache(script, sleep=naps, random=lambda: 1.0))

    assert naps.seconds == [0.1, 0.2]


@pytest.mark.parametrize("code", [400, 401, 403, 409, 422, 500, 503])
async def test_no_answer_of_the_api_server_ends_the_cache(code: int) -> None:
    script = Script(an_error(code), page(5, raw("a", 1)))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a"}
    assert cache.failure is None


async def test_why_nothing_is_heard_can_be_read() -> None:
    script = Script(an_error(403))
    cache = a_cache(script)

    await play(script, cache)

    assert isinstance(cache.failure, errors.Forbidden)
    assert not cache.synced.is_set()


async def test_what_is_wrong_with_us_is_not_hidden() -> None:
    def stumble(old: Thing | None, new: Thing | None) -> None:
        raise ZeroDivisionError

    script = Script(page(5, raw("a", 1)))

    with pytest.raises(ZeroDivisionError):
        await play(script, a_cache(script, on_change=stumble))


# --- kinds that are not installed ---


async def test_a_kind_that_is_not_installed_is_known_to_be_empty() -> None:
    naps = Naps()
    script = Script(an_error(404), an_error(404))
    cache = a_cache(script, sleep=naps)

    await play(script, cache)

    assert cache.synced.is_set()
    assert not cache.served
    assert naps.seconds == [5.0, 5.0]


async def test_a_kind_that_is_installed_later_is_followed_and_told_of_once() -> None:
    script = Script(an_error(404), page(5, raw("a", 1)))
    told: list[str] = []
    cache = a_cache(script, on_installed=lambda: told.append("installed"))

    await play(script, cache)

    assert cache.served
    assert names(cache) == {"a"}
    assert told == ["installed"]


async def test_a_kind_that_was_always_there_is_not_told_of() -> None:
    script = Script(page(5, raw("a", 1)))
    told: list[str] = []

    await play(script, a_cache(script, on_installed=lambda: told.append("installed")))

    assert told == []


async def test_a_kind_that_vanished_is_listed_when_it_comes_back() -> None:
    script = Script(page(5, raw("a", 1)), an_error(404), page(30)).then_watch(an_error(404))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == set()
    assert script.watched_from == ["5", "30"]


async def test_a_poke_ends_the_wait() -> None:
    waiting = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    script = Script(an_error(404), page(5, raw("a", 1)))
    cache = a_cache(script, sleep=for_ever)
    playing = asyncio.create_task(play(script, cache))
    await waiting.wait()
    assert len(script.lists) == 1

    cache.poke()
    await playing

    assert names(cache) == {"a"}


async def test_a_poke_while_the_question_is_under_way_is_not_lost() -> None:
    async def for_ever(seconds: float) -> None:
        await asyncio.Event().wait()

    class Poking(Script):
        async def send(self, request: Any) -> bytes:
            if len(self.pages) == 2:
                cache.poke()
            return await super().send(request)

    script = Poking(an_error(404), page(5, raw("a", 1)))
    cache = a_cache(script, sleep=for_ever)

    await play(script, cache)

    assert names(cache) == {"a"}


# --- odd objects ---


async def test_an_odd_object_is_skipped_by_name_and_the_others_are_there() -> None:
    script = Script(page(5, raw("a", 1), raw("odd", 2, size="huge"), raw("c", 3)))
    cache = a_cache(script)

    with capture_logs() as logs:
        await play(script, cache)

    assert names(cache) == {"a", "c"}
    assert [(entry["event"], entry["kind"], entry["name"]) for entry in logs] == [("object skipped", "Thing", "odd")]


@pytest.mark.parametrize("nothing", [pytest.param({}, id="no metadata"), pytest.param(7, id="a number")])
async def test_an_object_without_a_name_is_skipped(nothing: object) -> None:
    script = Script(page(5, nothing, raw("c", 3))).then_watch(frame("ADDED", nothing), added("d", 6))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"c", "d"}


async def test_an_object_that_turned_odd_stays_as_it_was_until_it_is_deleted() -> None:
    script = (
        Script(page(5, raw("a", 1, size=1)), page(20, raw("a", 6, size="huge")))
        .then_watch(modified("a", 6, size="huge"), an_error(410))
        .then_watch(bookmark(21))
        .then_watch(lambda: seen.append(cache.get("default", "a")), deleted("a", 22, size="huge"))
    )
    seen: list[Thing | None] = []
    cache = a_cache(script)

    await play(script, cache)

    assert seen == [a_thing("a", 1, size=1)]
    assert script.watched_from[1] == "20"
    assert len(cache) == 0


async def test_an_odd_event_is_not_asked_for_again() -> None:
    script = Script(page(5)).then_watch(added("odd", 6, size="huge"))

    await play(script, a_cache(script))

    assert script.watched_from == ["5", "6"]


async def test_one_that_is_nested_too_deep_hides_no_other() -> None:
    """Where a schema keeps unknown fields, the API server takes 10,000 levels; decoders give up at about 1,000."""
    pit = b'{"\\"]}":[' * 4500 + b'"[\\\\"' + b"]}" * 4500
    hole = msgspec.json.encode(raw("deep", 2))[:-1] + b',"spec":' + pit + b',"size":2}'
    text = page(5, raw("a", 1), msgspec.Raw(hole), raw("c", 3))
    script = Script(text).then_watch(b'{"type":"MODIFIED","object":' + hole.replace(b'"2"', b'"6"') + b"}")
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a", "deep", "c"}
    assert cache.get("default", "deep") == a_thing("deep", 6, size=2)
    assert cache.garbage == 0


async def test_a_version_that_is_no_number_is_no_end() -> None:
    odd = raw("a", 1)
    odd["metadata"]["resourceVersion"] = "tomorrow"
    script = Script(page(5, odd)).then_watch(frame("MODIFIED", odd), added("b", 6))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a", "b"}


# --- own writes ---


async def test_a_note_is_there_at_once_and_told_once() -> None:
    heard = Heard()
    script = Script(page(5, raw("a", 1, size=1))).then_watch(
        lambda: cache.note(a_thing("a", 9, size=9)), modified("a", 7, size=7), modified("a", 9, size=9)
    )
    cache = a_cache(script, on_change=heard)

    await play(script, cache)

    assert heard.changes == [("a", None, 1), ("a", 1, 9)]
    assert cache.get("default", "a") == a_thing("a", 9, size=9)
    assert script.watched_from == ["5", "9"]


async def test_a_note_does_not_move_where_the_watch_resumes() -> None:
    """Between what the watch saw and our write stand events of others."""
    script = (
        Script(page(5, raw("a", 1)))
        .then_watch(bookmark(6), lambda: cache.note(a_thing("a", 9)))
        .then_watch(added("b", 7))
    )
    cache = a_cache(script)

    await play(script, cache)

    assert script.watched_from[:2] == ["5", "6"]
    assert names(cache) == {"a", "b"}


async def test_a_note_that_others_overtook_is_dropped() -> None:
    script = Script(page(5)).then_watch(added("a", 9, size=9), lambda: cache.note(a_thing("a", 7, size=7)))
    cache = a_cache(script)

    await play(script, cache)

    assert cache.get("default", "a") == a_thing("a", 9, size=9)


async def test_a_note_that_comes_after_the_deletion_raises_nothing_from_the_dead() -> None:
    script = Script(page(5)).then_watch(added("a", 6), deleted("a", 7), lambda: cache.note(a_thing("a", 6)))
    cache = a_cache(script)

    await play(script, cache)

    assert len(cache) == 0


async def test_a_note_of_what_a_list_no_longer_had_raises_nothing_from_the_dead() -> None:
    script = (
        Script(page(5, raw("a", 1)), page(20))
        .then_watch(an_error(410))
        .then_watch(lambda: cache.note(a_thing("a", 12)), bookmark(21))
    )
    cache = a_cache(script)

    await play(script, cache)

    assert len(cache) == 0


async def test_what_was_made_during_a_list_survives_it() -> None:
    class Writing(Script):
        async def send(self, request: Any) -> bytes:
            cache.note(a_thing("mine", 6))
            return await super().send(request)

    script = Writing(page(5, raw("a", 1)))
    cache = a_cache(script)

    await play(script, cache)

    assert names(cache) == {"a", "mine"}


async def test_the_same_name_with_a_new_uid_is_another_object() -> None:
    heard = Heard()
    script = Script(page(5, raw("a", 1, uid="first", size=1))).then_watch(
        lambda: cache.note(a_thing("a", 8, uid="second", size=2)),
        deleted("a", 7, uid="first", size=1),
        added("a", 8, uid="second", size=2),
        lambda: cache.note(a_thing("a", 6, uid="first", size=1)),
    )
    cache = a_cache(script, on_change=heard)

    await play(script, cache)

    assert heard.changes == [("a", None, 1), ("a", 1, 2)]
    assert cache.get("default", "a") == a_thing("a", 8, uid="second", size=2)


async def test_the_first_of_a_name_stays_dead_when_the_second_is_gone_too() -> None:
    script = Script(page(5, raw("a", 1, uid="first"))).then_watch(
        lambda: cache.note(a_thing("a", 8, uid="second")),
        deleted("a", 9, uid="second"),
        lambda: cache.note(a_thing("a", 6, uid="first")),
    )
    cache = a_cache(script)

    await play(script, cache)

    assert len(cache) == 0


async def test_an_object_that_left_the_selection_may_come_back() -> None:
    """The API server says DELETED of what no longer has the label, though it lives."""
    script = Script(page(5, raw("a", 1))).then_watch(deleted("a", 6), added("a", 8, size=8))
    cache = a_cache(script)

    await play(script, cache)

    assert cache.get("default", "a") == a_thing("a", 8, size=8)


async def test_a_departure_that_our_write_undid_is_old_news() -> None:
    script = Script(page(5, raw("a", 1))).then_watch(lambda: cache.note(a_thing("a", 8, size=8)), deleted("a", 6))
    cache = a_cache(script)

    await play(script, cache)

    assert cache.get("default", "a") == a_thing("a", 8, size=8)


# --- what is held ---


async def test_select_follows_the_key() -> None:
    script = Script(page(5, raw("a", 1, size=1), raw("b", 2, size=1), raw("c", 3, size=2)))
    cache = a_cache(script)
    await play(script, cache)
    assert {thing.metadata.name for thing in cache.select(1)} == {"a", "b"}

    cache.note(a_thing("b", 6, size=2))

    assert {thing.metadata.name for thing in cache.select(1)} == {"a"}
    assert {thing.metadata.name for thing in cache.select(2)} == {"b", "c"}
    assert cache.select(3) == ()


async def test_names_are_told_apart_by_namespace() -> None:
    other = raw("a", 2)
    other["metadata"] |= {"namespace": "other", "uid": "another"}
    script = Script(page(5, raw("a", 1), other))
    cache = a_cache(script)

    await play(script, cache)

    assert len(cache) == 2
    assert cache.get("other", "a") is not cache.get("default", "a")


async def test_the_cache_may_change_while_it_is_walked() -> None:
    script = Script(page(5, raw("a", 1), raw("b", 2)))
    cache = a_cache(script)
    await play(script, cache)

    for thing in cache:
        cache.note(a_thing(f"after-{thing.metadata.name}", 6))

    assert len(cache) == 4


@pytest.mark.parametrize("kind", [OwnedThing, Careless])
async def test_nothing_that_is_kept_holds_on_to_its_page(kind: type[Any]) -> None:
    managed = {"manager": "me", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
    items = [raw(f"thing-{i}", i, spec={"x": i}) for i in range(3)]
    for item in items:
        item["metadata"]["managedFields"] = [managed]
    text = page(5, *items)
    script = Script(text)
    cache: Cache[Any] = Cache(script, THINGS, kind)
    before = sys.getrefcount(text) - 1  # the script's own

    await play(script, cache)
    gc.collect()

    assert len(cache) == 3
    assert sys.getrefcount(text) == before


async def test_nothing_that_is_kept_holds_on_to_its_frame() -> None:
    item = raw("a", 6)
    item["metadata"]["managedFields"] = [{"manager": "me", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]
    text = frame("ADDED", item)
    script = Script(page(5)).then_watch(text)
    cache: Cache[Any] = Cache(script, THINGS, OwnedThing)
    before = sys.getrefcount(text) - 1

    await play(script, cache)
    gc.collect()

    assert len(cache) == 1
    assert sys.getrefcount(text) == before


def test_keys_without_objects_are_not_remembered_for_ever() -> None:
    store: Store[Thing] = Store(by_size, lambda old, new: None)
    for version in range(1, 100):
        store.put(a_thing("a", version, size=version))
    store.delete(a_thing("a", 100).metadata)

    assert store._index == {}


def test_the_dead_are_not_remembered_for_ever() -> None:
    store: Store[Object] = Store(lambda live: None, lambda old, new: None)
    for number in range(GRAVES + 10):
        store.delete(a_thing("a", 1, uid=str(number)).metadata)

    store.put(msgspec.convert(raw("a", 1, uid="0"), Object))
    assert len(store) == 1
    store.delete(a_thing("a", 2, uid="0").metadata)
    store.put(msgspec.convert(raw("a", 1, uid=str(GRAVES + 9)), Object))
    assert len(store) == 0


Happening = tuple[str, Thing]


def history(steps: list[tuple[str, str]]) -> list[Happening]:
    """What an API server would say of `steps`: a name is written or deleted, and deleted names are made anew."""
    living: dict[str, Thing] = {}
    said = []
    for version, (verb, name) in enumerate(steps, start=1):
        if verb == "write":
            uid = living[name].metadata.uid if name in living else f"{name}-{version}"
            living[name] = a_thing(name, version, uid=uid, size=version % 3)
            said.append((verb, living[name]))
        elif name in living:
            last = living.pop(name)
            said.append((verb, a_thing(name, version, uid=last.metadata.uid)))
    return said


STEPS = st.lists(st.tuples(st.sampled_from(["write", "write", "delete"]), st.sampled_from("abc")), max_size=30)


@given(steps=STEPS, notes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20))
def test_notes_early_or_late_never_change_where_it_ends(
    steps: list[tuple[str, str]], notes: list[tuple[int, int]]
) -> None:
    """Any answer to a write may arrive before or after any event: in the end, what is held is what is so."""
    said = history(steps)
    writes = [live for verb, live in said if verb == "write"]
    kept: dict[str, int] = {}

    def follow(old: Thing | None, new: Thing | None) -> None:
        either = new or old
        assert either is not None
        assert (old.size if old else None) == kept.get(either.metadata.name)
        if new is None:
            del kept[either.metadata.name]
        else:
            kept[new.metadata.name] = new.size

    def index(thing: Thing) -> Hashable:
        return thing.size

    store = Store(index, follow)
    for moment in range(len(said) + 1):
        for at, which in notes:
            if at == moment and writes:
                store.put(writes[which % len(writes)])
        if moment < len(said):
            verb, live = said[moment]
            store.put(live) if verb == "write" else store.delete(live.metadata)

    truth = {live.metadata.name: live if verb == "write" else None for verb, live in said}
    living = {name: live for name, live in truth.items() if live is not None}
    assert {thing.metadata.name: thing for thing in store} == living
    assert kept == {name: live.size for name, live in living.items()}
    for size in range(3):
        found = {thing.metadata.name for thing in store.select(size)}
        assert found == {name for name, live in living.items() if live.size == size}


@given(steps=STEPS, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_lists_between_events_never_change_where_it_ends(steps: list[tuple[str, str]], cuts: list[int]) -> None:
    """Events are missed between any two lists: what the last list and the events after it say is what is held."""
    said = history(steps)
    moments = sorted({0, *(min(cut, len(said)) for cut in cuts)})
    store: Store[Thing] = Store(lambda thing: thing.size, lambda old, new: None)
    for start, end in pairwise((*moments, len(said))):
        truth = {live.metadata.name: (verb, live) for verb, live in said[:start]}
        listed = {name: live for name, (verb, live) in truth.items() if verb == "write"}
        for live in listed.values():
            store.put(live)
        version = int(said[start - 1][1].metadata.resourceVersion) if start else 0
        store.keep_only({("default", name) for name in listed}, version)
        seen = said[start:end] if end == len(said) else said[start : (start + end) // 2]
        for verb, live in seen:
            store.put(live) if verb == "write" else store.delete(live.metadata)

    last = {live.metadata.name: (verb, live) for verb, live in said}
    assert {thing.metadata.name: thing for thing in store} == {
        name: live for name, (verb, live) in last.items() if verb == "write"
    }
