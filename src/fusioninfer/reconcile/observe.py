"""Before the stages: what the caches hold of one service → a Snapshot. Nothing is read from the API server."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.api import names
from fusioninfer.kube.cache import Cache
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.reconcile.snapshot import (
    ENTRIES,
    LEADER_WORKER_SETS,
    POD_GROUPS,
    STATEFUL_SETS,
    Child,
    Entry,
    Key,
    LeaderWorkerSet,
    Pod,
    PodGroup,
    Service,
    Snapshot,
    StatefulSet,
)


@dataclass(frozen=True, slots=True)
class Caches:
    """What is watched: our services, and everything that carries their label."""

    services: Cache[Service]
    stateful_sets: Cache[StatefulSet]
    leader_worker_sets: Cache[LeaderWorkerSet]
    pod_groups: Cache[PodGroup]
    entries: Cache[Entry]
    pods: Cache[Pod]

    def note(self, child: Child) -> None:
        """Take in what the API server answered to a write of ours."""
        match child:
            case StatefulSet():
                self.stateful_sets.note(child)
            case LeaderWorkerSet():
                self.leader_worker_sets.note(child)
            case PodGroup():
                self.pod_groups.note(child)
            case Entry():
                self.entries.note(child)


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
    children: dict[tuple[str, str], Child] = {
        **{(STATEFUL_SETS.kind, live.metadata.name): live for live in caches.stateful_sets.select(key)},
        **{(LEADER_WORKER_SETS.kind, live.metadata.name): live for live in caches.leader_worker_sets.select(key)},
        **{(POD_GROUPS.kind, live.metadata.name): live for live in caches.pod_groups.select(key)},
        **{(ENTRIES.kind, live.metadata.name): live for live in caches.entries.select(key)},
    }
    served = {LEADER_WORKER_SETS.kind: caches.leader_worker_sets.served, POD_GROUPS.kind: caches.pod_groups.served}
    unserved = frozenset(kind for kind, is_served in served.items() if not is_served)
    return Snapshot(service, children, tuple(caches.pods.select(key)), unserved)
