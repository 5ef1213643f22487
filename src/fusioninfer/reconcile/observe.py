"""Before the stages: what the caches hold of one service → a Snapshot. Nothing is read from the API server."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.api import names
from fusioninfer.kube.cache import Cache
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.reconcile.snapshot import STATEFUL_SETS, Child, Entry, Key, Pod, Service, Snapshot, Workload


@dataclass(frozen=True, slots=True)
class Caches:
    """What is watched: our services, and everything that carries their label."""

    services: Cache[Service]
    workloads: Cache[Workload]
    entries: Cache[Entry]
    pods: Cache[Pod]

    def note(self, child: Child) -> None:
        """Take in what the API server answered to a write of ours."""
        if isinstance(child, Workload):
            self.workloads.note(child)
        else:
            self.entries.note(child)


def key_of(labelled: Workload | Entry | Pod) -> Key | None:
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
    workloads = {(STATEFUL_SETS.kind, live.metadata.name): live for live in caches.workloads.select(key)}
    entries = {("Service", live.metadata.name): live for live in caches.entries.select(key)}
    return Snapshot(service, {**workloads, **entries}, tuple(caches.pods.select(key)))
