"""Before the stages: what the caches hold of one service → a Snapshot. Nothing is read from the API server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fusioninfer.api import names
from fusioninfer.kube.cache import Cache
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.kube.requests import Resource
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES, HTTPRoute
from fusioninfer.reconcile.snapshot import (
    Child,
    Key,
    Pod,
    Service,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class Caches:
    """What is watched: our services, and everything that carries their label."""

    services: Cache[Service]
    pods: Cache[Pod]
    children: Mapping[Resource, Cache[Child]]
    """By their kind."""

    def rivals(self, route: HTTPRoute) -> Iterator[HTTPRoute]:
        """Routes, ours and strangers', that claim requests which `route` claims too."""
        for other in self.children[HTTP_ROUTES]:
            is_itself = other.metadata.uid == route.metadata.uid
            if isinstance(other, HTTPRoute) and not is_itself and not route.claims.isdisjoint(other.claims):
                yield other

    def note(self, resource: Resource, child: Child) -> None:
        """Take in what the API server answered to a write of ours."""
        self.children[resource].note(child)


def key_of(labelled: Child | Pod) -> Key | None:
    """The service that an object belongs to, by its label."""
    return key_in(labelled.metadata)


def key_in(metadata: ObjectMeta) -> Key | None:
    """The service that the label in `metadata` names; None if there is none."""
    service = metadata.labels.get(names.SERVICE_LABEL)
    return Key(metadata.namespace, service) if service else None


def observe(caches: Caches, key: Key) -> Snapshot | None:
    """All that is known of the service `key`; None if it does not exist."""
    service = caches.services.get(key.namespace, key.name)
    if service is None:
        return None
    children = {
        (resource.kind, live.metadata.name): live
        for resource, cache in caches.children.items()
        for live in cache.select(key)
    }
    unserved = frozenset(resource.kind for resource, cache in caches.children.items() if not cache.served)
    own = (live for live in children.values() if isinstance(live, HTTPRoute))
    rivals = tuple(rival for route in own for rival in caches.rivals(route))
    return Snapshot(service, children, tuple(caches.pods.select(key)), unserved, rivals)
