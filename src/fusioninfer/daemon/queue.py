"""Which key is worked on next, and when again.

`Schedule` decides and knows neither clock nor asyncio; `Queue` waits for what it decides; `work` does the work.

A key is in at most one of three states: waiting for its due time, being worked on, or unknown. However often it is
added it waits once, at the earliest time asked for; added while it is worked on it waits again when that is over.
What is due is handed out in the order of due times, so that a hot key takes its turn like every other.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a key is worked on again; seconds."""

    first_backoff: float = 0.05
    """After the first failure; each further one doubles it."""
    longest_backoff: float = 60.0
    """Also the longest Retry-After that is believed."""
    soonest_after_failure: float = 1.0
    """An event may shorten a back-off to this: what failed may have changed, but an outage is no reason to hurry."""
    soonest: float = 0.1
    """From the start of one turn of a key to its next: a key that changes 50 times a second is worked on 10 times."""


@dataclass(slots=True)
class Schedule(Generic[K]):
    """When each key is due. `now` is monotonic seconds and never decreases from call to call."""

    pace: Pace = field(default_factory=Pace)
    jitter: Callable[[], float] = random.random
    """A number in [0, 1), so that what failed together does not come back together."""
    _due: dict[K, float] = field(default_factory=dict)
    _order: list[tuple[float, int, K]] = field(default_factory=list)
    """A heap of due times; an entry whose time is no longer the one in `_due` is void."""
    _tickets: itertools.count[int] = field(default_factory=itertools.count)
    _working: dict[K, float | None] = field(default_factory=dict)
    """Being worked on, with the due time asked for meanwhile."""
    _resting: dict[K, float] = field(default_factory=dict)
    """The time before which the key must not be handed out, whoever asks."""
    _rests: list[tuple[float, int, K]] = field(default_factory=list)
    """A heap of the ends of rests, to forget them by."""
    _failures: dict[K, int] = field(default_factory=dict)

    def add(self, key: K, now: float, after: float = 0.0) -> None:
        """`key` is due in `after` seconds, or sooner if it already was."""
        self._ask(key, now + after)

    def take(self, now: float) -> K | None:
        """The key that has been due longest; None if none is. It is being worked on until `done` or `failed`."""
        self._forget_rests(now)
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._order)
        del self._due[key]
        self._working[key] = None
        self._rest(key, now + self.pace.soonest)
        return key

    def done(self, key: K, now: float, after: float | None = None) -> None:
        """`key` was worked on well; it is due again in `after` seconds, or when something asks for it."""
        self._failures.pop(key, None)
        self._finish(key, None if after is None else now + after)

    def failed(self, key: K, now: float, retry_after: float = 0.0) -> None:
        """`key` is due again after a back-off of its own, and not before `retry_after` seconds (0: none was asked)."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pace = self.pace
        backoff = min(pace.longest_backoff, pace.first_backoff * 2.0 ** min(failures, 64)) * (1 - self.jitter() / 2)
        asked = min(pace.longest_backoff, retry_after)
        self._rest(key, now + max(asked, min(backoff, pace.soonest_after_failure)))
        self._finish(key, now + max(backoff, asked * (1 + self.jitter() / 4)))

    def next_due(self) -> float | None:
        """When the next key is due; None if no key waits."""
        while self._order and self._due.get(self._order[0][2]) != self._order[0][0]:
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def depth(self, now: float) -> int:
        """How many keys are due and not yet worked on."""
        return sum(due <= now for due in self._due.values())

    def oldest_seconds(self, now: float) -> float:
        """How long the key that is due longest has been waiting for a worker."""
        return max(0.0, now - min(self._due.values(), default=now))

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    def _ask(self, key: K, due: float) -> None:
        if key in self._working:
            asked = self._working[key]
            self._working[key] = due if asked is None else min(asked, due)
            return
        due = max(due, self._resting.get(key, due))
        if key not in self._due or due < self._due[key]:
            self._due[key] = due
            heapq.heappush(self._order, (due, next(self._tickets), key))
            self._drop_void()

    def _finish(self, key: K, due: float | None) -> None:
        meanwhile = self._working.pop(key)
        for time_asked in (due, meanwhile):
            if time_asked is not None:
                self._ask(key, time_asked)

    def _rest(self, key: K, until: float) -> None:
        if until > self._resting.get(key, 0.0):
            self._resting[key] = until
            heapq.heappush(self._rests, (until, next(self._tickets), key))

    def _forget_rests(self, now: float) -> None:
        while self._rests and self._rests[0][0] <= now:
            until, _, key = heapq.heappop(self._rests)
            if self._resting.get(key) == until:
                del self._resting[key]

    def _drop_void(self) -> None:
        """Keep void entries fewer than keys: a key that is due in an hour and has an event a second leaves 3600."""
        if len(self._order) > 2 * len(self._due) + 64:
            self._order = [entry for entry in self._order if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._order)


class Queue(Generic[K]):
    """A `Schedule` to wait on, for one event loop."""

    def __init__(
        self, pace: Pace | None = None, *, monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        """`monotonic` is seconds and runs as the event loop's own clock does."""
        self._schedule: Schedule[K] = Schedule(pace or Pace(), jitter)
        self.monotonic = monotonic
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, key: K) -> None:
        """Something happened to `key`: it is due now."""
        self.add_after(key, 0.0)

    def add_after(self, key: K, seconds: float) -> None:
        """`key` is due in `seconds`, or sooner if it already was."""
        self._schedule.add(key, self.monotonic(), seconds)
        self._changed.set()

    async def take(self) -> K | None:
        """The key that has been due longest, waiting for one; None when the queue is closed.

        One worker waits for a key and the others for their turn, so that one event wakes one of them.
        """
        async with self._turn:
            while not self._closed:
                now = self.monotonic()
                key = self._schedule.take(now)
                if key is not None:
                    return key
                await self._change(now)
        return None

    def done(self, key: K, after: float | None = None) -> None:
        """`key` was worked on well; it is due again in `after` seconds, or when something happens to it."""
        self._schedule.done(key, self.monotonic(), after)
        self._changed.set()

    def failed(self, key: K, retry_after: float = 0.0) -> None:
        """`key` was not; it is due again after a back-off, and not before `retry_after` seconds."""
        self._schedule.failed(key, self.monotonic(), retry_after)
        self._changed.set()

    def close(self) -> None:
        """Hand out no more keys; what is being worked on goes on."""
        self._closed = True
        self._changed.set()

    def depth(self) -> int:
        """How many keys are due and not yet worked on."""
        return self._schedule.depth(self.monotonic())

    def oldest_seconds(self) -> float:
        """How long the key that is due longest has been waiting for a worker."""
        return self._schedule.oldest_seconds(self.monotonic())

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return self._schedule.working

    async def _change(self, now: float) -> None:
        """Return when something was added or the next key is due."""
        self._changed.clear()
        due = self._schedule.next_due()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else due - now):
                await self._changed.wait()


@runtime_checkable
class AsksToWait(Protocol):
    """An error of which the server said when to come again; seconds, 0 if it did not."""

    retry_after_seconds: float


Told = Callable[[K, float, Exception | None], None]
"""What came of one turn of a key: how many seconds it took, and the error that it ended with."""


async def work(
    queue: Queue[K], reconcile: Callable[[K], Awaitable[float | None]], *, workers: int, told: Told[K]
) -> None:  # fmt: skip
    """Run `workers` workers until the queue is closed and what they hold is done.

    `reconcile` returns after how many seconds to look at the key again, None for not until something happens.
    Whatever exception it raises is told, and the key backs off.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(_worker(queue, reconcile, told))


async def _worker(queue: Queue[K], reconcile: Callable[[K], Awaitable[float | None]], told: Told[K]) -> None:
    while (key := await queue.take()) is not None:
        started = queue.monotonic()
        try:
            after = await reconcile(key)
        except Exception as error:
            queue.failed(key, error.retry_after_seconds if isinstance(error, AsksToWait) else 0.0)
            told(key, queue.monotonic() - started, error)
        else:
            queue.done(key, after)
            told(key, queue.monotonic() - started, None)
