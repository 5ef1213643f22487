"""The wiring of the operator: what is made, in which order it starts, and in which it ends. Nothing is decided here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from aiohttp import web

from fusioninfer.daemon import health, logs
from fusioninfer.daemon.access import PATIENCE_SECONDS, Access, ThisMachine, TokenFile, TokenReview
from fusioninfer.daemon.certificate import Certificate
from fusioninfer.daemon.ending import FAILED, TOLD, Ending
from fusioninfer.daemon.leader import Elector, LeaderThread, LeaseLost, an_identity
from fusioninfer.daemon.metrics import CacheState, Metrics, State, by_ready, not_ready_longest_seconds
from fusioninfer.daemon.queue import Queue, work
from fusioninfer.daemon.settings import Settings
from fusioninfer.daemon.watched import Watched, watched
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Connection, Misconfigured, default_connection, from_kubeconfig
from fusioninfer.kube.errors import KubeError
from fusioninfer.reconcile.loop import Incomplete
from fusioninfer.reconcile.snapshot import Key

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 5.0
"""How long the turns under way may go on after we were told to stop."""
EXPECTED = (KubeError, Incomplete)
"""Errors of a turn that are no fault of this program, and are logged without a traceback."""


def operator(settings: Settings) -> int:
    """Serve until told to stop; the exit code."""
    logs.configure(settings.log_level, settings.log_format)
    try:
        connection = from_kubeconfig(settings.kubeconfig) if settings.kubeconfig else default_connection()
        return asyncio.run(run(settings, connection))
    except (Misconfigured, OSError) as error:
        log.error("cannot start", error=str(error))
        return FAILED


async def run(settings: Settings, connection: Connection) -> int:
    """Serve until there is a reason to end; the exit code. Raises OSError if the port is taken, and Misconfigured."""
    certificate = _certificate(settings)
    ending = Ending()
    elected = asyncio.Event()
    elector = _elector(settings, connection) if settings.leader_election else None
    metrics = Metrics()
    async with (
        Client(connection, may_write=elector.check if elector else None, on_answer=metrics.answered) as kube,
        _access(settings, connection, metrics) as access,
    ):
        queue: Queue[Key] = Queue()
        leader = _leader(elector, connection, metrics, elected, ending) if elector else None
        parts = Parts(queue, watched(kube, queue, settings.namespace), elector, leader)
        endpoints = _endpoints(parts, metrics, access)
        async with health.serving(endpoints, settings.bind_address, settings.port, certificate) as port:
            log.info("serving", address=settings.bind_address, port=port, tls=certificate is not None)
            with ending.on_signals():
                return await _live(parts, elected, ending, settings.workers, metrics)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process is made of, as far as it is asked how it is."""

    queue: Queue[Key]
    seen: Watched
    elector: Elector | None
    leader: LeaderThread | None

    @property
    def leading(self) -> bool:
        return self.elector is None or self.elector.leading

    def wrong(self) -> Iterator[str]:
        """What only a restart helps."""
        if self.leader is not None and self.leader.ended:
            yield "the leader thread has ended"

    def unready(self) -> Iterator[str]:
        """What is still awaited after the start."""
        for kind, cache in self.seen.caches.items():
            if not cache.synced.is_set():
                yield f"{kind} not listed yet{f': {cache.failure}' if cache.failure else ''}"

    def state(self) -> State:
        """What a scrape shows. A follower keeps what is due for the day on which it leads: nothing waits there."""
        leading = self.leading
        return State(
            queue_depth=self.queue.depth() if leading else 0,
            queue_oldest_seconds=self.queue.oldest_seconds() if leading else 0.0,
            working=self.queue.working,
            leading=leading,
            lease_transitions=self.elector.transitions if self.elector else 0,
            caches={
                kind: CacheState(len(cache), cache.relists, cache.reconnects)
                for kind, cache in self.seen.caches.items()
            },
            services=by_ready(self.seen.statuses()),
            not_ready_longest_seconds=not_ready_longest_seconds(self.seen.statuses(), datetime.now(UTC)),
        )


def _elector(settings: Settings, connection: Connection) -> Elector:
    return Elector(settings.lease_namespace or connection.namespace, settings.lease_name, an_identity())


def _leader(
    elector: Elector, connection: Connection, metrics: Metrics, elected: asyncio.Event, ending: Ending
) -> LeaderThread:  # fmt: skip
    loop = asyncio.get_running_loop()

    def on_leading() -> None:
        loop.call_soon_threadsafe(elected.set)

    def on_lost() -> None:
        loop.call_soon_threadsafe(ending.because, "the lease was lost", FAILED)

    return LeaderThread(
        elector, lambda: Client(connection, on_answer=metrics.answered), on_leading=on_leading, on_lost=on_lost
    )


@asynccontextmanager
async def _access(settings: Settings, connection: Connection, metrics: Metrics) -> AsyncIterator[Access]:
    """Who may read the metrics. Raises Misconfigured if two ways are set."""
    match settings.metrics_token_review, settings.metrics_token_file:
        case False, "":
            yield ThisMachine(settings.bind_address)
        case False, file:
            yield TokenFile(Path(file))
        case True, "":
            # A client of its own: who does not lead may ask too.
            async with Client(connection, timeout_seconds=PATIENCE_SECONDS, on_answer=metrics.answered) as kube:
                yield TokenReview(kube)
        case _:
            raise Misconfigured("metrics_token_review and metrics_token_file are two ways of one thing: set one")


def _certificate(settings: Settings) -> Certificate | None:
    match settings.certificate_file, settings.key_file:
        case "", "":
            return None
        case ("", _) | (_, ""):
            raise Misconfigured("certificate_file and key_file belong together: set both, or neither")
        case certificate, key:
            return Certificate(Path(certificate), Path(key))


def _endpoints(parts: Parts, metrics: Metrics, access: Access) -> web.Application:
    return health.application(
        wrong=parts.wrong,
        unready=parts.unready,
        metrics=lambda: metrics.text(parts.state()),
        access=access,
    )


async def _live(parts: Parts, elected: asyncio.Event, ending: Ending, workers: int, metrics: Metrics) -> int:
    """Follow and work until the end; then finish the turns under way, stop, and release the Lease, in this order."""
    following = [asyncio.create_task(cache.run()) for cache in parts.seen.caches.values()]
    working = asyncio.create_task(_work(parts, elected, workers, metrics))
    ending.if_any_fails((*following, working))
    try:
        code = await ending.code()
        parts.queue.close()
        if code == TOLD and parts.queue.working:
            await asyncio.wait((working,), timeout=DRAIN_SECONDS)
        return code
    finally:
        for task in (*following, working):
            task.cancel()
        await asyncio.gather(*following, working, return_exceptions=True)
        if parts.leader is not None:
            await asyncio.to_thread(parts.leader.stop)


async def _work(parts: Parts, elected: asyncio.Event, workers: int, metrics: Metrics) -> None:
    """Fill the caches, then stand for election, then work: who leads without knowing keeps another from leading."""
    for cache in parts.seen.caches.values():
        await cache.synced.wait()
    log.info("synced", objects={kind: len(cache) for kind, cache in parts.seen.caches.items()})
    if parts.leader is not None:
        parts.leader.start()
        await elected.wait()

    def told(key: Key, seconds: float, error: Exception | None) -> None:
        metrics.reconciled(seconds, error)
        if error is not None and not isinstance(error, LeaseLost):  # of which the elector speaks, once for all turns
            traceback = None if isinstance(error, EXPECTED) else error
            log.warning("turn failed", service=str(key), error=repr(error), exc_info=traceback)

    await work(parts.queue, parts.seen.reconcile, workers=workers, told=told)
