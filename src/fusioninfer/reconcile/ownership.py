"""Who holds which fields of an object, read from managedFields.

A fieldsV1 value is a tree: `f:<name>` is a field, `k:<keys as JSON>` an item of a list with keys, `v:<value as JSON>`
an item of a set, `.` the node itself, and a node without children is held whole (meta/v1 FieldsV1). So an object can
be compared with it without any schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from fusioninfer.kube.objects import ManagedFields

Fields = Mapping[str, Any]
Path = tuple[str, ...]


def held_by(entries: Iterable[ManagedFields], manager: str) -> Fields:
    """What `manager` holds of the object itself by server-side apply; empty if nothing."""
    for entry in entries:
        if entry.manager == manager and entry.operation == "Apply" and not entry.subresource:
            return _tree(entry)
    return {}


def held_by_others(entries: Iterable[ManagedFields], manager: str) -> tuple[Fields, ...]:
    """What each other manager holds."""
    return tuple(_tree(entry) for entry in entries if entry.manager != manager or entry.operation != "Apply")


def _tree(entry: ManagedFields) -> Fields:
    tree: Fields = msgspec.json.decode(entry.fieldsV1)
    return tree


def not_held(value: Any, fields: Fields, path: Path = ()) -> list[Path]:
    """The paths in `value` that `fields` does not hold, outermost first."""
    if not fields:  # a leaf, or a list or struct that is held as one
        return []
    if isinstance(value, Mapping):
        return [
            missing
            for name, child in value.items()
            for missing in (
                not_held(child, fields[f"f:{name}"], (*path, name))
                if f"f:{name}" in fields
                else _lost(child, (*path, name))
            )
        ]
    if isinstance(value, list):
        return [
            missing
            for index, item in enumerate(value)
            for missing in _item_not_held(item, fields, (*path, _label(item, index)))
        ]
    return []


def _lost(value: Any, path: Path) -> list[Path]:
    """An empty list or map leaves no trace in managedFields, nor in the object: there is nothing in it to hold."""
    return [] if value in ([], {}) else [path]


def _item_not_held(item: Any, fields: Fields, path: Path) -> list[Path]:
    key = _key_of(item, fields)
    return [path] if key is None else not_held(item, fields[key], path)


def _label(item: Any, index: int) -> str:
    return str(item.get("name", index)) if isinstance(item, Mapping) else str(index)


def _key_of(item: Any, fields: Fields) -> str | None:
    """The entry of `fields` that stands for `item` of a list; None if there is none."""
    for key in fields:
        if key.startswith("k:") and isinstance(item, Mapping):
            wanted = msgspec.json.decode(key[2:])
            # A key that the item leaves out was filled in by the server: protocol of a port.
            if all(item.get(name, value) == value for name, value in wanted.items()):
                return key
        elif key.startswith("v:") and msgspec.json.decode(key[2:]) == item:
            return key
    return None


def held_part(value: Any, fields: Fields) -> Any:
    """The part of `value` that `fields` holds: what its manager applied, as the server stored it."""
    return _held(value, fields, lambda whole: whole)


def held_outline(value: Any, fields: Fields) -> Any:
    """The same with None for lists and structs that are held whole: the server may have filled in what nobody named."""
    return _held(value, fields, lambda whole: None if _may_be_filled_in(whole) else whole)


def _may_be_filled_in(whole: Any) -> bool:
    """It is no scalar, and no map of texts such as a nodeSelector."""
    if isinstance(whole, Mapping):
        return not all(isinstance(child, str) for child in whole.values())
    return isinstance(whole, list)


def _held(value: Any, fields: Fields, of_whole: Callable[[Any], Any]) -> Any:
    children = {key: child for key, child in fields.items() if key != "."}
    if not children:
        return of_whole(value)
    if isinstance(value, Mapping):
        return {
            name: _held(child, children[f"f:{name}"], of_whole)
            for name, child in value.items()
            if f"f:{name}" in children
        }
    if isinstance(value, list):
        keyed = ((item, _key_of(item, children)) for item in value)
        return [_held(item, children[key], of_whole) for item, key in keyed if key is not None]
    return value


def subtree(fields: Fields, *path: str) -> Fields | None:
    """The fields below `path`, such as ("spec", "template"); None if nothing there is held."""
    for name in path:
        if f"f:{name}" not in fields:
            return None
        fields = fields[f"f:{name}"]
    return fields
