"""What is stored, and what happened to it: objects by their place, and a history that is watched."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import islice
from typing import Any

import msgspec

from fusioninfer.kube.memory import refusals
from fusioninfer.kube.memory.fields import Entries
from fusioninfer.kube.memory.selectors import Labels
from fusioninfer.kube.requests import Manifest, Resource

FIRST_VERSION = 1000
"""Of an empty server: as on a real one, "1" is the version of nothing, and too old to watch from."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an object is: in a collection, by namespace and name."""

    group: str
    plural: str
    namespace: str
    name: str

    @staticmethod
    def of(resource: Resource, namespace: str, name: str) -> Place:
        return Place(resource.group, resource.plural, namespace if resource.namespaced else "", name)

    def is_in(self, resource: Resource, namespace: str) -> bool:
        """Whether it is in the collection: of all namespaces, if `namespace` is empty."""
        same_kind = self.plural == resource.plural and self.group == resource.group
        return same_kind and namespace in ("", self.namespace)


class View(Enum):
    """How much of an object is shown."""

    WHOLE = auto()
    METADATA = auto()


@dataclass(slots=True)
class Stored:
    """One version of one object. Never changed: every write makes another.

    `manifest` has no managedFields: who holds what is in `entries`.
    """

    place: Place
    manifest: Manifest
    entries: Entries
    version: int
    _encoded: bytes = field(default=b"", compare=False)
    _encoded_metadata: bytes = field(default=b"", compare=False)

    @property
    def metadata(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.manifest["metadata"]
        return found

    @property
    def labels(self) -> Labels:
        found: Labels = self.metadata.get("labels") or {}
        return found

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def owners(self) -> list[Mapping[str, Any]]:
        return self.metadata.get("ownerReferences") or []

    @property
    def finalizers(self) -> list[str]:
        return self.metadata.get("finalizers") or []

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.metadata

    def shown(self, view: View) -> bytes:
        """The object in JSON, or as a PartialObjectMetadata."""
        return self.encoded if view is View.WHOLE else self._metadata_alone()

    @property
    def encoded(self) -> bytes:
        """The object as JSON."""
        if not self._encoded:
            self._encoded = msgspec.json.encode({**self.manifest, "metadata": self._whole_metadata()})
        return self._encoded

    def _metadata_alone(self) -> bytes:
        if not self._encoded_metadata:
            partial = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": self._whole_metadata(),
            }
            self._encoded_metadata = msgspec.json.encode(partial)
        return self._encoded_metadata

    def _whole_metadata(self) -> dict[str, Any]:
        managed = {"managedFields": [entry.manifest for entry in self.entries]} if self.entries else {}
        return {**self.metadata, "resourceVersion": str(self.version), **managed}

    def at(self, version: int) -> Stored:
        """The same as of `version`."""
        return replace(self, version=version, _encoded=b"", _encoded_metadata=b"")


@dataclass(frozen=True, slots=True)
class Change:
    """What happened at one version: from `old` to `new`, of which one is None if the object came or went."""

    version: int
    place: Place
    old: Stored | None
    new: Stored | None


class Storage:
    """All objects, and the latest changes.

    Every change has a version of its own, one more than the last, over all kinds; as many as `kept_changes`
    are remembered, and who asks for what happened before them is told that it is gone.
    """

    def __init__(self, kept_changes: int, on_change: Callable[[Change], None]) -> None:
        self.version = FIRST_VERSION
        self._on_change = on_change
        self._objects: dict[Place, Stored] = {}
        self._places: dict[str, Place] = {}
        self._dependents: dict[str, set[Place]] = {}
        self._changes: deque[Change] = deque(maxlen=kept_changes)
        self._waiting: set[asyncio.Future[None]] = set()

    def get(self, place: Place) -> Stored | None:
        return self._objects.get(place)

    def by_uid(self, uid: str) -> Stored | None:
        place = self._places.get(uid)
        return None if place is None else self._objects[place]

    def dependents(self, uid: str) -> list[Stored]:
        """The objects that name `uid` as an owner, by place."""
        return [self._objects[place] for place in sorted(self._dependents.get(uid, ()))]

    def put(self, place: Place, manifest: Manifest, entries: Entries) -> Stored:
        """Store an object as the next version."""
        new = Stored(place, manifest, entries, self.version + 1)
        self._record(self._objects.get(place), new, place)
        return new

    def delete(self, place: Place) -> None:
        """Remove an object, at the next version."""
        self._record(self._objects[place], None, place)

    def collection(self, resource: Resource, namespace: str, version: int) -> list[Stored]:
        """The objects of a collection as they were at `version`, by place; raises as `since`."""
        objects = {place: live for place, live in self._objects.items() if place.is_in(resource, namespace)}
        for change in reversed(self.since(version)):
            if change.place.is_in(resource, namespace):
                if change.old is None:
                    del objects[change.place]
                else:
                    objects[change.place] = change.old
        return [objects[place] for place in sorted(objects)]

    def since(self, version: int) -> list[Change]:
        """What happened after `version`, which may be yet to come; raises errors.Gone if that is not remembered."""
        new = max(0, self.version - version)
        if new > len(self._changes):
            oldest = self.version - len(self._changes)
            raise refusals.expired(f"too old resource version: {version} ({oldest})")
        return list(islice(reversed(self._changes), new))[::-1]

    def forget(self) -> None:
        """Forget all that happened, as etcd does when it compacts."""
        self._changes.clear()

    async def changed(self, over: asyncio.Future[None]) -> None:
        """Returns after the next change, when `wake` is called, or when it is `over`."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            await asyncio.wait((change, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(change)

    def wake(self) -> None:
        """Wake all who wait for a change."""
        for change in self._waiting:
            if not change.done():
                change.set_result(None)
        self._waiting.clear()

    def _record(self, old: Stored | None, new: Stored | None, place: Place) -> None:
        self.version += 1
        if old is not None:
            self._unindex(old)
            del self._objects[place]
        if new is not None:
            self._objects[place] = new
            self._index(new)
        change = Change(self.version, place, old, new)
        self._changes.append(change)
        self._on_change(change)
        self.wake()

    def _index(self, live: Stored) -> None:
        self._places[live.uid] = live.place
        for owner in live.owners:
            self._dependents.setdefault(owner["uid"], set()).add(live.place)

    def _unindex(self, live: Stored) -> None:
        self._places.pop(live.uid, None)
        for owner in live.owners:
            dependents = self._dependents.get(owner["uid"], set())
            dependents.discard(live.place)
            if not dependents:
                self._dependents.pop(owner["uid"], None)
