"""What is watched, and what is done about it: the one place that joins caches, queue and reconcile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fusioninfer.api import names
from fusioninfer.build import engines
from fusioninfer.build.router import strategies
from fusioninfer.daemon.queue import Queue
from fusioninfer.kube.cache import Cache
from fusioninfer.kube.requests import Kube
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES, HTTPRoute
from fusioninfer.reconcile.loop import World, reconcile
from fusioninfer.reconcile.observe import Caches, key_of
from fusioninfer.reconcile.snapshot import CHILDREN, PODS, READ_AS, SERVICES, Child, Key, Owned, Pod, Service, is_news


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
    """All that a turn needs, with `queue` told of what changes in `namespace` (empty: in all of them)."""

    def on_service(*seen: Service | None) -> None:
        for live in seen:
            if live is not None:
                queue.add(Key(live.metadata.namespace, live.metadata.name))

    def on_labelled(old: Child | Pod | None, new: Child | Pod | None) -> None:
        if old is not None and new is not None and not is_news(old, new):
            return
        for live in (old, new):
            key = None if live is None else key_of(live)
            if key is not None:
                queue.add(key)

    def on_route(old: Child | None, new: Child | None) -> None:
        on_labelled(old, new)
        if isinstance(old, HTTPRoute) and isinstance(new, HTTPRoute) and not is_news(old, new):
            return
        for live in (old, new):
            for rival in caches.rivals(live) if isinstance(live, HTTPRoute) else ():
                key = key_of(rival)
                if key is not None:
                    queue.add(key)

    def on_installed() -> None:
        for live in caches.services:
            queue.add(Key(live.metadata.namespace, live.metadata.name))

    label = names.SERVICE_LABEL
    caches = Caches(
        services=Cache(kube, SERVICES, Service, namespace=namespace, on_change=on_service),
        pods=Cache(kube, PODS, Pod, namespace=namespace, labels=label, index_by=key_of, on_change=on_labelled),
        children={
            resource: Cache(
                kube,
                resource,
                READ_AS.get(resource, Owned),
                namespace=namespace,
                labels="" if resource is HTTP_ROUTES else label,
                index_by=key_of,
                on_change=on_route if resource is HTTP_ROUTES else on_labelled,
                on_installed=on_installed,
            )
            for resource in CHILDREN.values()
        },
    )
    world = World(
        kube,
        caches,
        engines.installed(),
        strategies.installed(),
        queue.monotonic,
        others_wait=lambda: queue.depth() > 0,
    )

    async def turn(key: Key) -> float | None:
        return (await reconcile(world, key)).retry_after_seconds

    return Watched(
        caches={
            SERVICES.kind: caches.services,
            PODS.kind: caches.pods,
            **{resource.kind: cache for resource, cache in caches.children.items()},
        },
        reconcile=turn,
        statuses=lambda: (service.status for service in caches.services),
    )
