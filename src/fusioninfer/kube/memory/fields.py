"""Sets of fields, and who holds which: the value behind metadata.managedFields.

A field is a path of steps, written as meta/v1 FieldsV1 writes them: `f:<name>` of a struct or map, `k:<keys as JSON>`
of a list with keys, `v:<value as JSON>` of a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

Path = tuple[str, ...]
Fields = frozenset[Path]

NO_FIELDS: Fields = frozenset()

_SYSTEM_METADATA = ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "resourceVersion")
NEVER_HELD: Fields = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{name}") for name in _SYSTEM_METADATA)}
)
"""Fields that are the API server's own (apimachinery managedfields/internal/stripmeta.go)."""


def step_of_name(name: str) -> str:
    return f"f:{name}"


def step_of_item(value: Any) -> str:
    """The step to an item of a set."""
    return f"v:{_json(value)}"


def step_of_keys(keys: Mapping[str, Any]) -> str:
    """The step to an item of a list with keys."""
    return f"k:{_json(dict(sorted(keys.items())))}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def tree_of(fields: Iterable[Path]) -> dict[str, Any]:
    """`fields` as a FieldsV1 value: a node that is in the set itself and has others below it holds a `.`."""
    tree: dict[str, Any] = {}
    for path in sorted(fields, key=len, reverse=True):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        if node:
            node["."] = {}
    return tree


def name_of(path: Path) -> str:
    """`path` as the API server names it when it refuses: `.spec.ports[containerPort=80,protocol="TCP"].name`."""
    return "".join(_name_of_step(step) for step in path)


def _name_of_step(step: str) -> str:
    if step.startswith("f:"):
        return f".{step[2:]}"
    if step.startswith("v:"):
        return f"[={step[2:]}]"
    keys = msgspec.json.decode(step[2:])
    return "[" + ",".join(f"{key}={_json(value)}" for key, value in keys.items()) + "]"


def in_order(paths: Fields) -> list[Path]:
    """`paths` as the API server lists them: at every level first what is in the set itself."""
    return sorted(paths, key=lambda path: [(depth < len(path), step) for depth, step in enumerate(path, start=1)])


def below(tree: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    """What of a FieldsV1 `tree` is below `step`; empty if nothing is."""
    found: Mapping[str, Any] = tree.get(step, {})
    return found


def holds(tree: Mapping[str, Any], step: str) -> bool:
    """Whether a FieldsV1 `tree` holds the field at `step` itself, and not only some below it."""
    return step in tree and (not tree[step] or "." in tree[step])


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, how, and when: RFC 3339, UTC."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for writes that share one entry: appliers keep theirs from version to version."""
        version = "" if self.operation == "Apply" else self.api_version
        return self.manager, self.operation, self.subresource, version


@dataclass(frozen=True, slots=True)
class Entry:
    """The fields that one writer holds, and when it last changed any of them."""

    writer: Writer
    fields: Fields

    @property
    def manifest(self) -> dict[str, Any]:
        """As it stands in metadata.managedFields."""
        writer = self.writer
        return {
            "manager": writer.manager,
            "operation": writer.operation,
            "apiVersion": writer.api_version,
            "time": writer.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": tree_of(self.fields),
            **({"subresource": writer.subresource} if writer.subresource else {}),
        }


Entries = tuple[Entry, ...]


def held_by(entries: Entries, writer: Writer) -> Fields:
    """What `writer` holds."""
    return next((entry.fields for entry in entries if entry.writer.identity == writer.identity), NO_FIELDS)


def others(entries: Entries, writer: Writer) -> Entries:
    """The entries of everybody else."""
    return tuple(entry for entry in entries if entry.writer.identity != writer.identity)


def without(entries: Entries, lost: Fields) -> Entries:
    """`entries` after `lost` was taken from all; who holds nothing any more has none."""
    left = (replace(entry, fields=entry.fields - lost) if entry.fields & lost else entry for entry in entries)
    return tuple(entry for entry in left if entry.fields)


def with_entry(entries: Entries, writer: Writer, fields: Fields, changed: bool) -> Entries:
    """`entries`, in which `writer` holds `fields` and nothing else; its time moves only if it `changed` something."""
    before = next((entry.writer for entry in entries if entry.writer.identity == writer.identity), writer)
    now = writer if changed else replace(writer, time=before.time)
    rest = others(entries, writer)
    return tuple(sorted((*rest, Entry(now, fields)), key=_order)) if fields else rest


def _order(entry: Entry) -> tuple[str, ...]:
    """As the API server sorts them (apimachinery managedfields/internal/managedfields.go)."""
    writer = entry.writer
    return writer.operation, writer.time, writer.manager, writer.api_version, writer.subresource
