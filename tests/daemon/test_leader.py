"""Elections: at most one leader at any moment, whatever happens to clocks, lines, processes and the Lease."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusioninfer.daemon.leader import Elector, LeaderThread, LeaseLost, Terms
from fusioninfer.kube.requests import Kube, Request
from tests import virtual
from tests.daemon.lease_server import LeaseServer, Line

TERMS = Terms()
TAKEOVER = TERMS.lease + 2 * TERMS.retry + 0.5
"""Seconds within which a follower leads after the last word of a leader, though its watch is broken: it saw that word
one look later, too."""


class Candidate:
    """An elector with a clock and a line of its own, that can be stopped (SIGSTOP) and go on, or be killed."""

    def __init__(self, name: str, server: LeaseServer, *, skew_seconds: float = 0.0) -> None:
        self.line = Line(server)
        self.going = asyncio.Event()
        self.going.set()
        self.led_since: float | None = None
        booted = random.Random(name).uniform(0, 1e6)
        self.elector = Elector(
            "system",
            "fusioninfer",
            name,
            elapsed=lambda: booted + virtual.clock(),
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=virtual.clock() + skew_seconds),
            sleep=self._sleep,
        )
        self.task = asyncio.create_task(self.elector.run(self, self._on_leading))

    async def send(self, request: Request) -> bytes:
        await self.going.wait()
        answer = await self.line.send(request)
        await self.going.wait()
        return answer

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.line.stream(request)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.going.wait()

    def _on_leading(self) -> None:
        self.led_since = virtual.clock()


@dataclass(frozen=True, slots=True)
class Scene:
    """Two candidates and the Lease."""

    server: LeaseServer
    a: Candidate
    b: Candidate

    @property
    def leaders(self) -> list[str]:
        return [candidate.elector.identity for candidate in (self.a, self.b) if candidate.elector.leading]


def played(story: Callable[[Scene], Awaitable[None]], *, skew_seconds: float = 0.0) -> None:
    """Play `story` from when `a` leads and `b` follows; never do two lead, nor does one write that is not to."""

    async def play() -> None:
        server = LeaseServer()
        a = Candidate("a", server, skew_seconds=skew_seconds)
        await asyncio.sleep(TERMS.absent + 1.0)
        scene = Scene(server, a, Candidate("b", server, skew_seconds=-skew_seconds))
        await asyncio.sleep(TERMS.retry + 0.1)
        assert scene.leaders == ["a"]
        await _watched(scene, story(scene))

    virtual.run(play())


async def _watched(scene: Scene, story: Awaitable[None]) -> None:
    """Look twenty times a second for a second leader while `story` runs."""
    telling = asyncio.ensure_future(story)
    while not telling.done():
        assert len(scene.leaders) <= 1, f"two leaders after {virtual.clock():.2f} s"
        await asyncio.sleep(0.05)
    await telling
    for candidate in (scene.a, scene.b):
        candidate.task.cancel()


# --- stories


def test_first_candidate_leads_once_the_lease_was_missing_for_long_enough() -> None:
    async def story() -> float | None:
        a = Candidate("a", LeaseServer())
        await asyncio.sleep(10.0)
        a.task.cancel()
        return a.led_since

    led_since = virtual.run(story())
    assert led_since is not None
    assert TERMS.absent <= led_since <= TERMS.absent + TERMS.retry


def test_released_lease_is_taken_at_the_first_look() -> None:
    async def story() -> float | None:
        server = LeaseServer()
        a = Candidate("a", server)
        await asyncio.sleep(10.0)
        a.task.cancel()
        await a.elector.release(a)
        began = virtual.clock()
        b = Candidate("b", server)
        await asyncio.sleep(1.0)
        b.task.cancel()
        return None if b.led_since is None else b.led_since - began

    assert virtual.run(story()) == pytest.approx(0.04)  # a look and a write


def test_leader_goes_on_leading() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(1000):
            await asyncio.sleep(3.7)
            assert scene.leaders == ["a"]

    played(story)


def test_follower_leads_when_the_leader_is_killed() -> None:
    async def story(scene: Scene) -> None:
        scene.a.task.cancel()
        killed = virtual.clock()
        await asyncio.sleep(TAKEOVER)
        assert scene.b.led_since is not None
        assert TERMS.lease - TERMS.retry <= scene.b.led_since - killed <= TERMS.lease + 0.1
        assert scene.b.elector.transitions == 1

    played(story)


def test_follower_whose_watch_is_refused_leads_two_looks_later() -> None:
    async def story(scene: Scene) -> None:
        scene.b.line.deaf = True
        await asyncio.sleep(TERMS.retry)
        scene.a.task.cancel()
        await asyncio.sleep(TAKEOVER)
        assert scene.leaders == ["b"]

    played(story)


def test_follower_who_cannot_take_a_free_lease_asks_no_more_often() -> None:
    async def story(scene: Scene) -> None:
        scene.a.task.cancel()
        scene.b.line.cut = True
        await asyncio.sleep(TAKEOVER)
        before = scene.b.line.sent
        await asyncio.sleep(10 * TERMS.retry)
        assert scene.b.line.sent - before <= 10

    played(story)


def test_release_hands_over_at_once() -> None:
    async def story(scene: Scene) -> None:
        scene.a.task.cancel()
        await scene.a.elector.release(scene.a)
        assert scene.leaders == []
        await asyncio.sleep(0.1)
        assert scene.leaders == ["b"]

    played(story)


def test_release_of_a_lease_that_another_took_leaves_it_alone() -> None:
    async def story(scene: Scene) -> None:
        scene.a.task.cancel()
        await asyncio.sleep(TAKEOVER)
        await scene.a.elector.release(scene.a)
        assert scene.server.holder == "b"

    played(story)


@pytest.mark.parametrize("skew_seconds", [60.0, -60.0])
def test_clocks_that_disagree_change_nothing(skew_seconds: float) -> None:
    async def story(scene: Scene) -> None:
        await asyncio.sleep(100.0)
        assert scene.leaders == ["a"]
        scene.a.line.cut = True
        await asyncio.sleep(TAKEOVER)
        assert scene.leaders == ["b"]

    played(story, skew_seconds=skew_seconds)


def test_leader_that_was_stopped_for_half_a_minute_writes_nothing_and_ends() -> None:
    async def story(scene: Scene) -> None:
        scene.a.going.clear()
        await asyncio.sleep(30.0)
        assert scene.leaders == ["b"]
        scene.a.going.set()
        with pytest.raises(LeaseLost):
            scene.a.elector.check()
        await asyncio.sleep(TERMS.retry + 0.1)
        assert scene.a.task.done()
        assert scene.leaders == ["b"]

    played(story)


def test_leader_that_was_stopped_with_nobody_to_follow_may_write_only_after_renewing() -> None:
    async def story(scene: Scene) -> None:
        scene.b.task.cancel()
        scene.a.going.clear()
        await asyncio.sleep(30.0)
        scene.a.going.set()
        with pytest.raises(LeaseLost):
            scene.a.elector.check()
        await asyncio.sleep(TERMS.retry + 0.1)
        scene.a.elector.check()

    played(story)


def test_leader_out_of_reach_stops_before_the_follower_starts() -> None:
    async def story(scene: Scene) -> None:
        scene.a.line.cut = True
        await asyncio.sleep(TERMS.deadline)
        assert scene.leaders == []
        await asyncio.sleep(TAKEOVER - TERMS.deadline)
        assert scene.leaders == ["b"]
        scene.a.line.cut = False
        await asyncio.sleep(TERMS.retry + TERMS.answer)
        assert scene.a.task.done()

    played(story)


def test_outage_of_the_api_server_ends_nobody() -> None:
    async def story(scene: Scene) -> None:
        scene.a.line.cut = scene.b.line.cut = True
        await asyncio.sleep(14.0)
        assert scene.leaders == []
        scene.a.line.cut = False
        await asyncio.sleep(TERMS.retry + 0.1)
        assert scene.leaders == ["a"]

    played(story)


def test_renewal_whose_answer_was_lost_loses_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.a.line.muted = True
        await asyncio.sleep(TERMS.retry + 0.1)
        scene.a.line.muted = False
        await asyncio.sleep(60.0)
        assert scene.leaders == ["a"]

    played(story)


def test_answer_that_never_comes_is_not_waited_for() -> None:
    async def story(scene: Scene) -> None:
        scene.a.line.latency_seconds = 1e6
        await asyncio.sleep(TERMS.retry + TERMS.answer / 2)
        scene.a.line.latency_seconds = 0.01
        await asyncio.sleep(TERMS.deadline)
        assert scene.leaders == ["a"]

    played(story)


def test_deleted_lease_is_made_anew_by_its_holder() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(5):
            scene.server.delete()
            await asyncio.sleep(TERMS.retry + 0.1)
            assert scene.server.holder == "a"
            assert scene.leaders == ["a"]

    played(story)


def test_holder_of_a_deleted_lease_ends_if_it_comes_too_late() -> None:
    async def story(scene: Scene) -> None:
        scene.b.task.cancel()
        scene.a.going.clear()
        scene.server.delete()
        await asyncio.sleep(30.0)
        scene.a.going.set()
        await asyncio.sleep(TERMS.retry + 0.1)
        assert scene.a.task.done()
        assert scene.server.live is None

    played(story)


def test_follower_of_a_deleted_lease_waits_for_the_holder_it_knew() -> None:
    async def story(scene: Scene) -> None:
        scene.a.line.cut = True
        scene.server.delete()
        await asyncio.sleep(TERMS.lease - TERMS.retry)
        assert scene.server.live is None
        await asyncio.sleep(2 * TERMS.retry + 0.2)
        assert scene.leaders == ["b"]

    played(story)


def test_two_that_find_no_lease_do_not_both_lead() -> None:
    async def story() -> list[bool]:
        server = LeaseServer()
        both = [Candidate("a", server), Candidate("b", server)]
        await asyncio.sleep(60.0)
        for candidate in both:
            candidate.task.cancel()
        return [candidate.elector.leading for candidate in both]

    assert sorted(virtual.run(story())) == [False, True]


# --- any story

FAULTS = ("cut", "muted", "stopped", "slow")


async def _with_fault(candidate: Candidate, fault: str, seconds: float) -> None:
    match fault:
        case "stopped":
            candidate.going.clear()
            await asyncio.sleep(seconds)
            candidate.going.set()
        case "slow":
            candidate.line.latency_seconds = seconds / 8
            await asyncio.sleep(seconds)
            candidate.line.latency_seconds = 0.01
        case name:
            setattr(candidate.line, name, True)
            await asyncio.sleep(seconds)
            setattr(candidate.line, name, False)


STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(FAULTS), st.floats(0.1, 40), st.floats(0, 20)), max_size=8
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, skew_seconds=st.floats(-60, 60))
def test_whatever_fails_two_never_lead(steps: list[tuple[str, str, float, float]], skew_seconds: float) -> None:
    async def story(scene: Scene) -> None:
        faults = []
        for who, fault, seconds, pause in steps:
            faults.append(asyncio.create_task(_with_fault(getattr(scene, who), fault, seconds)))
            await asyncio.sleep(pause)
        await asyncio.gather(*faults)
        await asyncio.sleep(2 * TAKEOVER)
        if not (scene.a.task.done() and scene.b.task.done()):  # else their processes are started anew
            assert len(scene.leaders) == 1

    played(story, skew_seconds=skew_seconds)


@settings(max_examples=50, deadline=None)
@given(pauses=st.lists(st.floats(0, 20), min_size=1, max_size=8))
def test_whenever_the_lease_is_deleted_one_leads(pauses: list[float]) -> None:
    async def story(scene: Scene) -> None:
        for pause in pauses:
            scene.server.delete()
            await asyncio.sleep(pause)
        await asyncio.sleep(TERMS.retry + 0.1)
        assert scene.leaders == ["a"]

    played(story)


# --- the thread, in real time

QUICK = Terms(lease=0.6, deadline=0.4, retry=0.05, answer=0.2, absent=0.05)


class Observed:
    """A thread of a candidate for `server`, and what it said."""

    def __init__(self, server: LeaseServer, name: str) -> None:
        self.leading = threading.Event()
        self.lost = threading.Event()
        self.line = Line(server, latency_seconds=0.001)
        self.elector = Elector("system", "fusioninfer", name, terms=QUICK)
        self.thread = LeaderThread(self.elector, self._connect, on_leading=self.leading.set, on_lost=self.lost.set)
        self.thread.start()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Kube]:
        yield self.line


def test_stall_of_the_main_loop_does_not_lose_the_lease() -> None:
    async def main() -> Observed:
        observed = Observed(LeaseServer(), "a")
        await asyncio.to_thread(observed.leading.wait, 5.0)
        end = time.monotonic() + 3 * QUICK.lease
        while time.monotonic() < end:  # the loop does not turn, and Python code runs
            observed.elector.check()
        return observed

    observed = asyncio.run(main())
    assert not observed.lost.is_set()
    observed.thread.stop()


def test_stopped_thread_has_released_the_lease() -> None:
    server = LeaseServer()
    observed = Observed(server, "a")
    assert observed.leading.wait(5.0)
    observed.thread.stop()

    assert server.holder == ""
    assert observed.thread.ended
    assert not observed.lost.is_set()
    with pytest.raises(LeaseLost):
        observed.elector.check()


def test_lost_lease_is_told() -> None:
    server = LeaseServer()
    observed = Observed(server, "a")
    assert observed.leading.wait(5.0)
    observed.line.cut = True
    time.sleep(QUICK.lease)
    other = Observed(server, "b")
    assert other.leading.wait(5.0)
    observed.line.cut = False

    assert observed.lost.wait(5.0)
    assert not observed.elector.leading
    other.thread.stop()


def test_thread_that_cannot_connect_is_told_as_lost() -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Kube]:
        raise OSError("no such token")
        yield

    lost = threading.Event()
    elector = Elector("system", "fusioninfer", "a")
    thread = LeaderThread(elector, connect, on_leading=lambda: None, on_lost=lost.set)
    thread.start()

    assert lost.wait(5.0)
    thread.stop()
    assert thread.ended


def test_thread_can_be_stopped_while_it_follows() -> None:
    server = LeaseServer()
    leader = Observed(server, "a")
    assert leader.leading.wait(5.0)
    follower = Observed(server, "b")
    follower.thread.stop()

    assert follower.thread.ended
    assert server.holder == "a"
    leader.thread.stop()
