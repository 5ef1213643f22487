"""Before an LWS is created: whether the names are free that its controller gives to what it makes.

It applies by force a Service and a StatefulSet of the LWS's own name, and so would take a stranger's over; a
StatefulSet with a number after that name, one for every copy, it would wait for in vain (LWS v0.9, its two
controllers). Read once per creation, for nothing else of these names is ours to watch.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from fusioninfer.kube import errors, requests, watch
from fusioninfer.kube.cache import PAGE
from fusioninfer.kube.objects import Object, ObjectMeta
from fusioninfer.reconcile.snapshot import ENTRIES, LEADER_WORKER_SETS, STATEFUL_SETS


@dataclass(frozen=True, slots=True)
class Holder:
    """An object that has such a name."""

    kind: str
    metadata: ObjectMeta

    @property
    def is_of_an_lws(self) -> bool:
        """Made by LeaderWorkerSet: for itself, or for the leader pod of a copy."""
        return any(owner.kind in (LEADER_WORKER_SETS.kind, "Pod") for owner in self.metadata.ownerReferences)


async def holder(kube: requests.Kube, namespace: str, lws: str) -> Holder | None:
    """The first object found that has a name which the LWS called `lws` needs; raises errors.KubeError."""
    try:
        service = await kube.send(requests.get(ENTRIES, namespace, lws))
        return Holder(ENTRIES.kind, msgspec.json.decode(service, type=Object).metadata)
    except errors.NotFound:
        pass
    for metadata in await _stateful_sets(kube, namespace):
        if metadata.name == lws or _is_numbered(metadata.name, lws):
            return Holder(STATEFUL_SETS.kind, metadata)
    return None


def _is_numbered(name: str, lws: str) -> bool:
    stem, _, number = name.rpartition("-")
    return stem == lws and number.isdecimal()


async def _stateful_sets(kube: requests.Kube, namespace: str) -> list[ObjectMeta]:
    """The metadata of every StatefulSet in a namespace."""
    collection = watch.Collection(STATEFUL_SETS, namespace, accept=requests.METADATA_ONLY)
    found: list[ObjectMeta] = []
    page = watch.page(await kube.send(collection.page(PAGE)))
    while True:
        found += [msgspec.json.decode(raw, type=Object).metadata for raw in page.items or ()]
        if not page.metadata.continue_token:
            return found
        page = watch.page(await kube.send(collection.page(PAGE, page.metadata.continue_token)))
