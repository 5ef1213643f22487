"""The wiring: the order in which parts start, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from fusioninfer.daemon import main
from fusioninfer.daemon.access import ThisMachine, TokenFile, TokenReview
from fusioninfer.daemon.ending import FAILED, TOLD, Ending
from fusioninfer.daemon.metrics import Metrics
from fusioninfer.daemon.queue import Queue
from fusioninfer.daemon.settings import Settings
from fusioninfer.daemon.watched import Watched
from fusioninfer.kube.cache import Cache
from fusioninfer.kube.connection import Connection, Misconfigured
from fusioninfer.kube.objects import Object
from fusioninfer.kube.requests import Request, Resource
from fusioninfer.reconcile.snapshot import Key
from tests import virtual

THINGS = Resource("", "v1", "Thing", "things")
KEY = Key("default", "qwen")


class Empty:
    """An API server that holds nothing, and answers the first list after `lists_after` seconds."""

    def __init__(self, lists_after: float = 0.0) -> None:
        self.lists_after = lists_after

    async def send(self, request: Request) -> bytes:
        await asyncio.sleep(self.lists_after)
        return b'{"metadata": {"resourceVersion": "1"}, "items": []}'

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        await asyncio.sleep(1e9)
        yield b""


def lived(
    turn: Callable[[Key], Awaitable[float | None]],
    end: Callable[[Ending], Coroutine[Any, Any, None]],
    *,
    lists_after: float = 0.0,
) -> tuple[int, float]:
    """The exit code of a process whose turns are `turn` and that `end` ends, and after how many seconds it ended."""

    async def story() -> tuple[int, float]:
        ending = Ending()
        queue: Queue[Key] = Queue(monotonic=virtual.clock)
        queue.add(KEY)
        cache = Cache(Empty(lists_after), THINGS, Object)
        parts = main.Parts(queue, Watched({"Thing": cache}, turn, tuple), None, None)
        bringing = asyncio.create_task(end(ending))
        code = await main._live(parts, asyncio.Event(), ending, 2, Metrics())
        await bringing
        return code, virtual.clock()

    return virtual.run(story())


def ends_after(seconds: float, code: int = TOLD) -> Callable[[Ending], Coroutine[Any, Any, None]]:
    async def end(ending: Ending) -> None:
        await asyncio.sleep(seconds)
        ending.because("the test says so", code)

    return end


def test_nothing_is_worked_on_before_the_caches_are_filled() -> None:
    began: list[float] = []

    async def turn(_: Key) -> None:
        began.append(virtual.clock())

    lived(turn, ends_after(10.0), lists_after=3.0)

    assert began == [pytest.approx(3.0)]


def test_process_that_waits_for_its_caches_ends_at_once() -> None:
    async def turn(_: Key) -> None:
        raise AssertionError("no turn may begin")

    assert lived(turn, ends_after(1.0), lists_after=100.0) == (TOLD, 1.0)


@pytest.mark.parametrize(
    ("takes", "finishes", "ended"),
    [
        pytest.param(4.0, True, 4.0, id="in time"),
        pytest.param(60.0, False, 1.0 + main.DRAIN_SECONDS, id="too long"),
    ],
)
def test_turns_under_way_may_finish(takes: float, finishes: bool, ended: float) -> None:
    finished: list[Key] = []

    async def turn(key: Key) -> None:
        await asyncio.sleep(takes)
        finished.append(key)

    code, seconds = lived(turn, ends_after(1.0))

    assert code == TOLD
    assert finished == ([KEY] if finishes else [])
    assert seconds == pytest.approx(ended)


def test_lost_lease_is_not_drained() -> None:
    async def turn(_: Key) -> None:
        await asyncio.sleep(60.0)

    code, seconds = lived(turn, ends_after(1.0, FAILED))

    assert code == FAILED
    assert seconds == pytest.approx(1.0)


def test_part_that_breaks_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Cache[Object]) -> None:
        raise ValueError("a bug")

    async def turn(_: Key) -> None: ...

    async def nothing(_: Ending) -> None: ...

    monkeypatch.setattr(Cache, "run", broken)
    code, _ = lived(turn, nothing)

    assert code == FAILED


async def test_first_signal_ends_in_order() -> None:
    ending = Ending()
    with ending.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(ending.code(), 5.0) == TOLD


def test_second_signal_ends_at_once() -> None:
    program = """
        import asyncio, os, signal
        from fusioninfer.daemon.ending import Ending

        async def main():
            with Ending().on_signals():
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.1)
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)

        asyncio.run(main())
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=30, capture_output=True)

    assert ended.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        pytest.param(Settings(), ThisMachine, id="nothing said"),
        pytest.param(Settings(metrics_token_file="token"), TokenFile, id="a token"),
        pytest.param(Settings(metrics_token_review=True), TokenReview, id="the API server"),
    ],
)
async def test_settings_say_who_lets_read(settings: Settings, way: type) -> None:
    async with main._access(settings, Connection("http://nowhere"), Metrics()) as access:
        assert isinstance(access, way)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param(Settings(metrics_token_review=True, metrics_token_file="token"), "set one", id="two ways to read"),
        pytest.param(Settings(certificate_file="tls.crt"), "belong together", id="no key"),
        pytest.param(Settings(key_file="tls.key"), "belong together", id="no certificate"),
        pytest.param(Settings(certificate_file="no.crt", key_file="no.key"), "no.crt", id="no such files"),
    ],
)
async def test_settings_that_contradict_each_other_are_named(settings: Settings, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        await main.run(settings, Connection("http://nowhere"))
