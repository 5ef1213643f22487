"""One watch: which changes it is told, and how."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fusioninfer.kube import errors
from fusioninfer.kube.memory import refusals
from fusioninfer.kube.memory.kinds import Target
from fusioninfer.kube.memory.selectors import Selector
from fusioninfer.kube.memory.storage import Change, Storage, View


class Watch:
    """Follows a collection from `resource_version` on; "" and "0" begin with what is there, as ADDED."""

    def __init__(self, storage: Storage, target: Target, selects: Selector, view: View, resource_version: str) -> None:
        self._storage = storage
        self._resource = target.kind.resource
        self._namespace = target.namespace
        self._selects = selects
        self._view = view
        self._from_now = resource_version in ("", "0")
        self._version = storage.version if self._from_now else _number(resource_version)
        self.failed = False
        """It told an ERROR, and will tell no more."""

    @property
    def is_up_to_date(self) -> bool:
        return self._version >= self._storage.version

    def news(self) -> Iterator[bytes]:
        """The frames of what happened since it was last asked; at last one of type ERROR, if that is not known."""
        try:
            if self._from_now:
                self._from_now = False
                yield from self._beginning()
            yield from self._changes()
        except errors.ApiError as error:
            self.failed = True
            status = error.status
            yield _frame("ERROR", refusals.status(status.code, status.reason, status.message))

    def bookmark(self) -> bytes:
        """The frame that says how far it is."""
        resource = self._resource
        told = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(self._version), "creationTimestamp": None},
        }
        return _frame("BOOKMARK", msgspec.json.encode(told))

    def _beginning(self) -> Iterator[bytes]:
        for live in self._storage.collection(self._resource, self._namespace, self._version):
            if self._selects(live.labels):
                yield _frame("ADDED", live.shown(self._view))

    def _changes(self) -> Iterator[bytes]:
        for change in self._storage.since(self._version):
            self._version = change.version
            if change.place.is_in(self._resource, self._namespace):
                yield from self._told(change)

    def _told(self, change: Change) -> Iterator[bytes]:
        """`change` as the selection has it: what stops to match is DELETED, in the last state that matched."""
        old = change.old if change.old is not None and self._selects(change.old.labels) else None
        new = change.new if change.new is not None and self._selects(change.new.labels) else None
        if new is not None:
            yield _frame("ADDED" if old is None else "MODIFIED", new.shown(self._view))
        elif old is not None:
            yield _frame("DELETED", old.at(change.version).shown(self._view))


def _number(resource_version: str) -> int:
    if not resource_version.isdecimal():
        raise refusals.bad_request(f"Invalid value: {resource_version!r}: strconv.ParseUint: parsing: invalid syntax")
    return int(resource_version)


def _frame(event: str, told: bytes) -> bytes:
    return b'{"type":"%b","object":%b}' % (event.encode(), told)
