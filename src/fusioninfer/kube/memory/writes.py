"""Creating, updating, applying and deleting: from what is stored and what is asked to what is stored then.

After apiserver pkg/registry/rest (create.go, update.go, delete.go) and pkg/endpoints/handlers (patch.go).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fusioninfer.kube.memory import fields, ownership, refusals, values
from fusioninfer.kube.memory.fields import Entries, Writer
from fusioninfer.kube.memory.kinds import Kind, Target
from fusioninfer.kube.memory.storage import Place, Storage, Stored
from fusioninfer.kube.requests import Manifest

FOREGROUND = "foregroundDeletion"
"""Finalizer of an object that waits for its dependents to be gone."""
ORPHAN = "orphan"
"""Finalizer of an object whose dependents are yet to be set free."""

REPLICAS = ("f:spec", "f:replicas")
"""The field that is scaled. While nobody holds it, who scales does not come to hold it either."""

_OURS = (
    *("name", "namespace", "uid", "creationTimestamp", "generation"),
    *("deletionTimestamp", "deletionGracePeriodSeconds"),
)
"""Metadata that the API server alone sets."""
_GUARDS = ("uid", "resourceVersion", "managedFields")


@dataclass(frozen=True, slots=True)
class Deletion:
    """How to delete: what must be so, and what becomes of the dependents."""

    uid: str = ""
    resource_version: str = ""
    propagation: str = ""


class Writes:
    """What can be done to the objects of a storage; raises `errors.ApiError` if it is refused."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime], uids: Callable[[], str]) -> None:
        self._storage = storage
        self._clock = clock
        self._uids = uids

    def now(self) -> str:
        """The time, as meta/v1 Time."""
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def create(self, target: Target, body: Manifest, writer: Writer) -> Stored:
        """Store what was POSTed; its name is in its metadata."""
        kind = target.kind
        name = body["metadata"].get("name", "")
        if not name:
            raise refusals.invalid(kind.resource, "", "metadata.name", "Required value: name is required")
        place = Place.of(kind.resource, target.namespace, name)
        if self._storage.get(place) is not None:
            raise refusals.exists(kind.resource, name)
        new = _without_status(kind, _fitting(kind, name, body))
        new = {**new, "metadata": _tidy(_free_metadata(new["metadata"]))}
        entries = ownership.created(new, kind.shape, writer)
        return self._store_first(kind, place, new, entries)

    def update(self, target: Target, body: Manifest, writer: Writer) -> Stored:
        """Replace an object, or only its status, by what was PUT or came out of a patch."""
        kind = target.kind
        live = self._live(target)
        self._check_guards(target, live, body["metadata"])
        new = _fitting(kind, target.name, body)
        if target.subresource == "status":
            new = {**_without_status(kind, live.manifest), **_status(kind, new)}
        else:
            metadata = {**_tidy(_free_metadata(new["metadata"])), **_system_metadata(live)}
            new = {**_without_status(kind, new), **_status(kind, live.manifest), "metadata": metadata}
        if not kind.served.custom:
            new = values.without_nulls(new)
        entries = live.entries
        if target.subresource != "scale" or any(REPLICAS in entry.fields for entry in entries):
            entries = ownership.updated(live.manifest, new, entries, kind.shape, writer)
        return self._store(kind, live, new, entries, target.subresource)

    def apply(self, target: Target, body: Manifest, writer: Writer, *, force: bool) -> Stored:
        """Server-side apply."""
        kind, resource = target.kind, target.kind.resource
        problems = list(values.problems(body, kind.shape))
        if problems:
            raise refusals.untyped_patch(resource, target.namespace, target.name, problems)
        place = Place.of(resource, target.namespace, target.name)
        live = self._storage.get(place)
        metadata = body.get("metadata", {})
        if live is None and target.subresource:
            raise refusals.not_found(resource, target.name)
        if live is None and metadata.get("uid"):
            why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
            raise refusals.conflict(resource, target.name, why)
        config = _config(target, body)
        try:
            new, entries = ownership.applied(
                live.manifest if live else {},
                config,
                live.entries if live else (),
                kind.shape,
                writer,
                force=force,
            )
        except ownership.FieldConflict as conflict:
            raise refusals.held_by_others(conflict.held) from conflict
        if live is None:
            return self._store_first(kind, place, new, entries)
        self._check_guards(target, live, metadata)
        return self._store(kind, live, new, entries, target.subresource)

    def delete(self, target: Target, how: Deletion) -> Stored | None:
        """Delete an object, or mark it for deletion while it has finalizers: then it is returned."""
        live = self._live(target)
        resource = target.kind.resource
        if how.uid and how.uid != live.uid:
            why = (
                f"the UID in the precondition ({how.uid}) does not match the UID in record ({live.uid}). "
                "The object might have been deleted and then recreated"
            )
            raise refusals.conflict(resource, target.name, why)
        if how.resource_version and how.resource_version != str(live.version):
            raise refusals.conflict(resource, target.name, refusals.MODIFIED)
        finalizers = _finalizers_for(how.propagation, live.finalizers)
        if not finalizers:
            self._storage.delete(live.place)
            return None
        marked = self._marked(target.kind, live, finalizers)
        return live if marked == live.manifest else self._storage.put(live.place, marked, live.entries)

    def _marked(self, kind: Kind, live: Stored, finalizers: list[str]) -> Manifest:
        metadata = {**live.metadata, "finalizers": finalizers}
        if not live.deleting:
            metadata |= {"deletionTimestamp": self.now(), "deletionGracePeriodSeconds": 0}
            if kind.served.counts_generations:
                metadata["generation"] += 1
        return {**live.manifest, "metadata": metadata}

    def _live(self, target: Target) -> Stored:
        live = self._storage.get(Place.of(target.kind.resource, target.namespace, target.name))
        if live is None:
            raise refusals.not_found(target.kind.resource, target.name)
        return live

    def _check_guards(self, target: Target, live: Stored, metadata: Mapping[str, Any]) -> None:
        kind = target.kind
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if version and version != str(live.version):
            raise refusals.conflict(kind.resource, live.place.name, refusals.MODIFIED)
        # A status write takes no metadata of a custom resource, its uid not excepted: it is no guard there.
        is_heeded = not (kind.served.custom and target.subresource == "status")
        if uid and uid != live.uid and is_heeded:
            why = f'Invalid value: "{uid}": field is immutable'
            raise refusals.invalid(kind.resource, live.place.name, "metadata.uid", why)

    def _store_first(self, kind: Kind, place: Place, new: Manifest, entries: Entries) -> Stored:
        metadata = {
            **new["metadata"],
            "name": place.name,
            **({"namespace": place.namespace} if place.namespace else {}),
            "uid": self._uids(),
            "creationTimestamp": self.now(),
            **({"generation": 1} if kind.served.counts_generations else {}),
        }
        settled = _settled(kind, place.name, {**new, "metadata": metadata})
        return self._storage.put(place, settled, entries)

    def _store(self, kind: Kind, live: Stored, new: Manifest, entries: Entries, subresource: str) -> Stored:
        """Store the next version of `live`, if it is another; one that was only waiting to be deleted goes."""
        name = live.place.name
        settled = _settled(kind, name, {**new, "metadata": {**new["metadata"], **_system_metadata(live)}})
        if values.same(settled, live.manifest) and _holders(entries) == _holders(live.entries):
            return live
        finalizers = settled["metadata"].get("finalizers", [])
        if live.deleting:
            if set(finalizers) - set(live.finalizers):
                why = "Forbidden: no new finalizers can be added if the object is being deleted"
                raise refusals.invalid(kind.resource, name, "metadata.finalizers", why)
            if not finalizers:
                self._storage.delete(live.place)
                return Stored(live.place, settled, entries, self._storage.version)
        if kind.served.counts_generations and subresource != "status" and _asks_other(kind, live.manifest, settled):
            settled["metadata"]["generation"] += 1
        return self._storage.put(live.place, settled, entries)


def _config(target: Target, body: Manifest) -> Manifest:
    """The part of an applied manifest that is merged: without guards, and without what the path does not write."""
    named = {"name": target.name, **({"namespace": target.namespace} if target.namespace else {})}
    if target.subresource == "status":
        status = {"status": body["status"]} if "status" in body else {}
        return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": named, **status}
    metadata = {**_free_metadata(body.get("metadata", {})), **named}
    return {**_without_status(target.kind, body), "metadata": metadata}


def _fitting(kind: Kind, name: str, body: Manifest) -> Manifest:
    """`body` without unknown fields; raises errors.Refused if it has values of the wrong type."""
    known: Manifest = values.declared_part(body, kind.shape)
    problem = next((found for found in values.problems(known, kind.shape) if values.DUPLICATE not in found), None)
    if problem is not None:
        field, _, why = problem.partition(": ")
        raise refusals.invalid(kind.resource, name, field.lstrip("."), why)
    return known


def _free_metadata(metadata: Mapping[str, Any]) -> Manifest:
    """Metadata without what the API server alone sets, and without guards."""
    return {name: value for name, value in metadata.items() if name not in _OURS + _GUARDS}


def _tidy(metadata: Mapping[str, Any]) -> Manifest:
    """Metadata without what is null or empty, as every kind has it after it was decoded."""
    return {name: value for name, value in metadata.items() if value not in (None, {}, [])}


def _system_metadata(live: Stored) -> Manifest:
    return {name: live.metadata[name] for name in _OURS if name in live.metadata}


def _without_status(kind: Kind, manifest: Manifest) -> Manifest:
    if not kind.has_status:
        return manifest
    return {name: value for name, value in manifest.items() if name != "status"}


def _status(kind: Kind, manifest: Manifest) -> Manifest:
    return {"status": manifest["status"]} if kind.has_status and "status" in manifest else {}


def _settled(kind: Kind, name: str, manifest: Manifest) -> Manifest:
    """`manifest` as it is stored: list keys filled in, and no nulls; of a custom resource they are refused."""
    content = {key: value for key, value in manifest.items() if key != "metadata"}
    if kind.served.custom:
        for field in values.nulls(content, kind.shape):
            raise refusals.invalid(kind.resource, name, field, 'Invalid value: "null": must not be null')
    else:
        content = values.without_nulls(content)
    filled: Manifest = values.with_keys(content, kind.shape)
    return {**filled, "metadata": _tidy(manifest["metadata"])}


def _asks_other(kind: Kind, old: Manifest, new: Manifest) -> bool:
    """Something changed that is neither metadata nor status."""
    beside = {"metadata", "status"} if kind.has_status else {"metadata"}
    return any(old.get(name) != new.get(name) for name in {*old, *new} - beside)


def _holders(entries: Entries) -> dict[tuple[str, ...], fields.Fields]:
    return {entry.writer.identity: entry.fields for entry in entries}


def _finalizers_for(propagation: str, finalizers: list[str]) -> list[str]:
    """The finalizers of an object that is deleted with a propagation policy; without one they stay."""
    if not propagation:
        return list(finalizers)
    others = [finalizer for finalizer in finalizers if finalizer not in (FOREGROUND, ORPHAN)]
    added = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(propagation, [])
    return others + added
