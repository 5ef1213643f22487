"""Who may write: one process at a time, whoever holds the Lease.

Every write of the Lease is guarded by the state that was seen, so that of two candidates who act on the same sight
one fails. Times are never compared between machines: a candidate counts from when *it* saw the Lease change, the
holder from before *it* sent its last renewal, each on a clock that nobody sets.

    holder      sends ── commit ─────────── 10 s: its writes are refused
    candidate                └─ sees ──────────────────── 15 s: takes the Lease

A candidate looks every two seconds, and at once when a watch says that the Lease has changed: one that is given up is
taken within milliseconds. The watch is a hint and nothing more, and without it all of this holds.

So the holder stops before anybody else may start, unless its clock runs a third slower than another's. What remains
is a write that was let through and then held up on its way for longer than the 5 s between: it hits no other object,
for writes are guarded by uid, and what it wrote is mended by the next leader's turn, which its own event brings about.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import structlog

from fusioninfer.daemon import lease
from fusioninfer.daemon.lease import Lease
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Kube

log = structlog.get_logger(__name__)

NEVER = float("inf")
NOT_NOW = float("-inf")


class LeaseLost(Exception):
    """We are not known to hold the Lease at this moment: nothing may be written."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the Lease is held; seconds."""

    lease: float = 15.0
    """Candidates take a Lease that they saw unchanged for so long."""
    deadline: float = 10.0
    """The holder writes nothing once its last renewal was sent so long ago."""
    retry: float = 2.0
    """Between two looks or renewals."""
    answer: float = 3.0
    """Longest wait for the API server in one round, so that several fit into the deadline."""
    absent: float = 3.0
    """A missing Lease is made once it was missing for so long: a holder whose Lease was deleted makes it anew by then.
    Waited for at the first start in a cluster and never again."""


def elapsed() -> float:
    """Seconds on a clock that nobody sets and, where there is such a one, that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def an_identity() -> str:
    """A name that no other process has, nor this one after a restart."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


class Elector:
    """One candidate for the Lease `namespace`/`name`.

    `run` and `release` belong to one event loop; everything else may be called from any thread.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        identity: str,
        *,
        terms: Terms | None = None,
        elapsed: Callable[[], float] = elapsed,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.identity = identity
        self.terms = terms or Terms()
        self._changed = asyncio.Event()
        self._elapsed = elapsed
        self._now = now
        self._sleep = sleep
        self._looked = False
        self._seen: Lease | None = None
        self._free_at = NEVER
        self._holding = False
        self._fence = NOT_NOW

    @property
    def leading(self) -> bool:
        """Writes may go out at this moment."""
        return self._elapsed() < self._fence

    @property
    def transitions(self) -> int:
        """How often the Lease went from one holder to the next, over all processes, as last seen."""
        seen = self._seen
        return (seen.spec.leaseTransitions or 0) if seen else 0

    def check(self) -> None:
        """Raise LeaseLost unless we lead at this moment; to be called right before each write."""
        if not self.leading:
            raise LeaseLost(f"{self.identity} does not hold the lease {self.namespace}/{self.name} now")

    async def run(self, kube: Kube, on_leading: Callable[[], None]) -> None:
        """Stand for election, call `on_leading` when elected, hold the Lease; return when it is lost.

        Who cannot renew in time is stopped by `check` but has not lost yet: a later renewal is guarded by its own last
        one, so that it succeeds only if nobody held the Lease between.
        """
        listening = asyncio.create_task(self._listen(kube))
        try:
            while not await self._holds(kube):
                await self._until_next_look()
        finally:
            listening.cancel()
        log.info("leading", lease=self.name, identity=self.identity)
        on_leading()
        await self._sleep(self.terms.retry)
        while await self._holds(kube):
            await self._sleep(self.terms.retry)
        log.error("lease lost", lease=self.name, holder=self._seen.holder if self._seen else "nobody: it was deleted")

    async def release(self, kube: Kube) -> None:
        """Give the Lease up, if it is ours, so that the next candidate need not wait; raises as `Kube.send`.

        From here on `check` refuses: whatever writes must have come to rest.
        """
        self._fence = NOT_NOW
        seen = await lease.read(kube, self.namespace, self.name)
        if seen is not None and seen.holder == self.identity:
            await lease.write(kube, self.namespace, self.name, lease.released(seen, self._now()), seen)
            log.info("lease released", lease=self.name)

    async def _listen(self, kube: Kube) -> None:
        """Be woken whenever the Lease changes."""
        while True:
            try:
                async for _ in lease.changes(kube, self.namespace, self.name):
                    self._changed.set()
            except errors.KubeError as error:
                log.debug("lease not watched", lease=self.name, error=repr(error))
            await self._sleep(self.terms.retry)

    async def _until_next_look(self) -> None:
        """When the Lease changes or will be free, and after `retry` at the latest."""
        due = self._free_at - self._elapsed()
        with suppress(TimeoutError):
            # A Lease that is free and was not to be had is no reason to ask without a pause.
            async with asyncio.timeout(due if 0.0 < due < self.terms.retry else self.terms.retry):
                await self._changed.wait()

    async def _holds(self, kube: Kube) -> bool:
        """Whether we hold the Lease after one more round; an API server that does not answer changes nothing."""
        self._changed.clear()
        try:
            async with asyncio.timeout(self.terms.answer):
                await self._round(kube)
        except (errors.KubeError, msgspec.MsgspecError, TimeoutError) as error:
            log.warning("lease out of reach", lease=self.name, leading=self.leading, error=repr(error))
        return self._holding

    async def _round(self, kube: Kube) -> None:
        """Renew; or, if the Lease is not as we left it, look at it and claim it once it is free."""
        if self._holding and await self._claim(kube):
            return
        self._note(await lease.read(kube, self.namespace, self.name))
        if self._elapsed() >= self._free_at:
            await self._claim(kube)

    async def _claim(self, kube: Kube) -> bool:
        """Write our name on the Lease as it was last seen; False if it has changed since."""
        sent_at = self._elapsed()
        spec = lease.claimed(self._seen, self.identity, self.terms.lease, self._now())
        try:
            self._seen = await lease.write(kube, self.namespace, self.name, spec, self._seen)
        except errors.Conflict:
            return False
        self._holding, self._fence = True, sent_at + self.terms.deadline
        return True

    def _note(self, live: Lease | None) -> None:
        """Take in what the Lease is now: whether we have lost it, and when it will be free."""
        now = self._elapsed()
        if self._holding and self._is_lost(live, now):
            self._holding, self._fence, self._free_at = False, NOT_NOW, NEVER
        elif not self._looked or _version(live) != _version(self._seen):
            self._free_at = self._free_from(live, now)
        self._looked, self._seen = True, live

    def _is_lost(self, live: Lease | None, now: float) -> bool:
        """Another holds what was ours; or it is gone for long enough that another may have held it."""
        return now >= self._fence if live is None else live.holder not in ("", self.identity)

    def _free_from(self, live: Lease | None, now: float) -> float:
        """From when on the Lease, which was seen to become `live` just now, may be claimed."""
        if live is None:
            return now if self._holding else max(now + self.terms.absent, self._free_at if self._looked else now)
        if live.holder in ("", self.identity):
            return now
        return now + max(self.terms.lease, live.spec.leaseDurationSeconds or 0)


def _version(live: Lease | None) -> tuple[str, str] | None:
    return live.version if live else None


class LeaderThread:
    """An elector in a thread and event loop of its own, so that a stall of the main loop cannot starve the Lease.

    `connect` makes its own connection to the API server, within that loop. `on_leading` and `on_lost` are called in
    the thread; `on_lost` also if the thread ends in any other way but `stop`.
    """

    def __init__(
        self,
        elector: Elector,
        connect: Callable[[], AbstractAsyncContextManager[Kube]],
        *,
        on_leading: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._elector = elector
        self._connect = connect
        self._on_leading = on_leading
        self._on_lost = on_lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    def start(self) -> None:
        """Begin to stand for election."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    @property
    def ended(self) -> bool:
        """The thread was started and is no more."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def stop(self, within_seconds: float = 5.0) -> None:
        """Release the Lease and end the thread; blocks until then, or for so long."""
        if self._loop is None:
            return
        with suppress(RuntimeError):  # the loop is closed: the thread has ended
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(within_seconds)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._own_loop) as runner:
                runner.run(self._campaign())
        except Exception:
            log.exception("the leader thread failed")
        if not self._stopping.is_set():
            self._on_lost()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    async def _campaign(self) -> None:
        async with self._connect() as kube:
            campaign = asyncio.create_task(self._elector.run(kube, self._on_leading))
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait((campaign, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if self._stopping.is_set():
                campaign.cancel()
                await asyncio.wait((campaign,))
                await self._release(kube)
            else:
                campaign.result()

    async def _release(self, kube: Kube) -> None:
        try:
            async with asyncio.timeout(self._elector.terms.answer):
                await self._elector.release(kube)
        except (errors.KubeError, msgspec.MsgspecError, TimeoutError) as error:
            log.warning("lease not released: the next leader waits for its end", error=repr(error))
