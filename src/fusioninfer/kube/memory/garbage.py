"""The garbage collector: what becomes of objects whose owners go, at once and in the order of the changes.

After kubernetes pkg/controller/garbagecollector/garbagecollector.go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from fusioninfer.kube.memory.fields import Writer
from fusioninfer.kube.memory.kinds import Kinds, Target
from fusioninfer.kube.memory.storage import Change, Storage, Stored
from fusioninfer.kube.memory.writes import FOREGROUND, ORPHAN, Deletion, Writes
from fusioninfer.kube.requests import Manifest

MANAGER = "kube-controller-manager"

Reference = Mapping[str, Any]


class Garbage:
    """Hears of every change, and collects when it is told to."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._changes: deque[Change] = deque()

    def heed(self, change: Change) -> None:
        """Take note of a change."""
        self._changes.append(change)

    def collect(self, storage: Storage, writes: Writes) -> None:
        """Do what the changes call for, and what that calls for in turn."""
        collection = _Collection(self._kinds, storage, writes)
        while self._changes:
            collection.react(self._changes.popleft())


class _Collection:
    def __init__(self, kinds: Kinds, storage: Storage, writes: Writes) -> None:
        self._kinds = kinds
        self._storage = storage
        self._writes = writes

    def react(self, change: Change) -> None:
        old, new = change.old, change.new
        if new is None:
            assert old is not None, "a change is of something"
            for dependent in self._storage.dependents(old.uid):
                self._judge(dependent)
        elif new.owners and (old is None or old.owners != new.owners):
            self._judge(new)
        if new is not None and new.deleting and (owner := self._storage.by_uid(new.uid)) is not None:
            self._go_on_deleting(owner)
        if old is not None and (new is None or new.owners != old.owners):
            for reference in old.owners:
                self._release(reference["uid"])

    def _go_on_deleting(self, owner: Stored) -> None:
        if ORPHAN in owner.finalizers:
            for dependent in self._storage.dependents(owner.uid):
                self._disown(dependent, {owner.uid})
            self._drop_finalizer(owner, ORPHAN)
        elif FOREGROUND in owner.finalizers:
            for dependent in self._blocking(owner.uid):
                self._judge(dependent)
            self._release(owner.uid)

    def _judge(self, dependent: Stored) -> None:
        """Delete `dependent` unless an owner is left that stays; then it is only freed from the others."""
        live = self._storage.get(dependent.place)
        if live is None or live.uid != dependent.uid or live.deleting:
            return
        waiting = [reference for reference in live.owners if self._waits(reference)]
        absent = [reference for reference in live.owners if self._is_absent(reference)]
        if not waiting and not absent:
            return
        if len(waiting) + len(absent) < len(live.owners):
            self._disown(live, {reference["uid"] for reference in (*waiting, *absent)})
        elif waiting and self._storage.dependents(live.uid):
            self._delete(live, "Foreground")
        else:
            self._delete(live, "" if live.finalizers else "Background")

    def _waits(self, reference: Reference) -> bool:
        """The owner waits for its dependents to go."""
        owner = self._storage.by_uid(reference["uid"])
        return owner is not None and owner.deleting and FOREGROUND in owner.finalizers

    def _is_absent(self, reference: Reference) -> bool:
        """The owner is gone; of a kind that is not served, nothing is known."""
        return self._kinds.knows_owner(reference) and self._storage.by_uid(reference["uid"]) is None

    def _blocking(self, uid: str) -> list[Stored]:
        return [
            dependent
            for dependent in self._storage.dependents(uid)
            if any(reference["uid"] == uid and reference.get("blockOwnerDeletion") for reference in dependent.owners)
        ]

    def _release(self, uid: str) -> None:
        """Let an owner go that waited for its dependents, if none is left that blocks it."""
        owner = self._storage.by_uid(uid)
        if owner is not None and owner.deleting and FOREGROUND in owner.finalizers and not self._blocking(uid):
            self._drop_finalizer(owner, FOREGROUND)

    def _disown(self, dependent: Stored, uids: set[str]) -> None:
        left = [reference for reference in dependent.owners if reference["uid"] not in uids]
        self._change_metadata(dependent, lambda metadata: {**metadata, "ownerReferences": left or None})

    def _drop_finalizer(self, owner: Stored, finalizer: str) -> None:
        left = [other for other in owner.finalizers if other != finalizer]
        self._change_metadata(owner, lambda metadata: {**metadata, "finalizers": left or None})

    def _change_metadata(self, live: Stored, change: Callable[[Mapping[str, Any]], Manifest]) -> None:
        target = self._target(live)
        version = target.kind.resource.api_version
        writer = Writer(MANAGER, "Update", version, "", self._writes.now())
        self._writes.update(target, {**live.manifest, "metadata": change(live.metadata)}, writer)

    def _delete(self, live: Stored, propagation: str) -> None:
        self._writes.delete(self._target(live), Deletion(uid=live.uid, propagation=propagation))

    def _target(self, live: Stored) -> Target:
        place = live.place
        return Target(self._kinds.stored(place.group, place.plural), place.namespace, place.name, "")
