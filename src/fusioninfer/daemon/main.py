"""The wiring of the operator: what is made, what hears of what, and how it ends. Nothing is decided here."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog

from fusioninfer.api import names
from fusioninfer.build import engines
from fusioninfer.daemon import health, logs
from fusioninfer.daemon.leader import Elector, LeaderThread, LeaseLost, an_identity
from fusioninfer.daemon.metrics import CacheState, Metrics, State, by_ready
from fusioninfer.daemon.queue import Queue, work
from fusioninfer.daemon.settings import Settings
from fusioninfer.kube.cache import Cache
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Connection, Misconfigured, default_connection, from_kubeconfig
from fusioninfer.kube.errors import KubeError
from fusioninfer.kube.requests import Kube
from fusioninfer.reconcile.loop import Incomplete, World, reconcile
from fusioninfer.reconcile.observe import Caches, key_of
from fusioninfer.reconcile.snapshot import (
    ENTRIES,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    Entry,
    Key,
    Pod,
    Service,
    Workload,
)

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 5.0
"""How long what is being worked on may go on after we were told to stop."""
FAILED = 1
"""The exit code of an operator that could not start, or lost the Lease, or broke."""
EXPECTED = (KubeError, Incomplete, LeaseLost)
"""Errors of a turn that are no bug of ours: they are logged without a traceback."""


def operator(settings: Settings) -> int:
    """Serve until told to stop; the exit code."""
    logs.configure(settings.log_level, settings.log_format)
    try:
        connection = from_kubeconfig(settings.kubeconfig) if settings.kubeconfig else default_connection()
        return asyncio.run(run(settings, connection))
    except (Misconfigured, OSError) as error:
        log.error("cannot start", error=str(error))
        return FAILED


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and what is done about it."""

    caches: Mapping[str, Cache[Any]]
    """By kind."""
    reconcile: Callable[[Key], Awaitable[float | None]]
    """One turn of a service: seconds until the next though nothing may happen, or None."""
    statuses: Callable[[], Iterable[msgspec.Raw]]
    """The statuses of all services."""


def watched(kube: Kube, queue: Queue[Key], namespace: str) -> Watched:
    """Everything that a turn needs, with the queue told of what changes in `namespace` (empty: in all)."""

    def of_service(old: Service | None, new: Service | None) -> None:
        for live in (old, new):
            if live is not None:
                queue.add(Key(live.metadata.namespace, live.metadata.name))

    def of_labelled(old: Workload | Entry | Pod | None, new: Workload | Entry | Pod | None) -> None:
        for live in (old, new):
            if live is not None and (key := key_of(live)) is not None:
                queue.add(key)

    ours = partial(
        Cache, kube, namespace=namespace, labels=names.SERVICE_LABEL, index_by=key_of, on_change=of_labelled
    )
    caches = Caches(
        services=Cache(kube, SERVICES, Service, namespace=namespace, on_change=of_service),
        workloads=ours(STATEFUL_SETS, Workload),
        entries=ours(ENTRIES, Entry),
        pods=ours(PODS, Pod),
    )
    world = World(kube, caches, engines.installed(), time.monotonic)

    async def turn(key: Key) -> float | None:
        return (await reconcile(world, key)).retry_after_seconds

    return Watched(
        caches={
            SERVICES.kind: caches.services,
            STATEFUL_SETS.kind: caches.workloads,
            ENTRIES.kind: caches.entries,
            PODS.kind: caches.pods,
        },
        reconcile=turn,
        statuses=lambda: (service.status for service in caches.services),
    )


async def run(settings: Settings, connection: Connection) -> int:
    """Serve until a signal, the loss of the Lease or a fault of our own; the exit code. Raises OSError at the start."""
    queue: Queue[Key] = Queue()
    end = Ending(asyncio.get_running_loop())
    elector = _elector(settings, connection) if settings.leader_election else None
    metrics = Metrics()
    async with Client(
        connection, may_write=elector.check if elector else None, on_answer=metrics.answered
    ) as kube:
        seen = watched(kube, queue, settings.namespace)
        metrics.read(lambda: _state(queue, elector, seen))
        turn = asyncio.Event()
        leader = (
            LeaderThread(
                elector,
                lambda: Client(connection, on_answer=metrics.answered),
                on_leading=end.from_thread(turn.set),
                on_lost=end.from_thread(partial(end.now, FAILED)),
            )
            if elector
            else None
        )
        ...
    return 0
