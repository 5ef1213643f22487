"""Values under a shape: what does not fit, which fields they have, how two differ, merge, and lose fields.

After structured-merge-diff v6, package typed: validate.go, tofieldset.go, compare.go, merge.go, remove.go.
Values are never changed: what is returned may share parts with what was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fusioninfer.kube.memory import fields
from fusioninfer.kube.memory.fields import Fields, Path
from fusioninfer.kube.memory.schema import Listing, ListShape, MapShape, Scalar, Shape

DUPLICATE = "duplicate entries for key"
"""What an apply is refused for, and an update is not."""

ABSENT: Final = object()
"""In place of a value that is not there; None is JSON's null."""


def problems(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """What of `value` does not fit, each as `<path>: <what is wrong>`."""
    match value, shape:
        case None, _:
            return
        case dict(), Shape(map=MapShape() as map_shape):
            for name, child in value.items():
                child_shape = map_shape.shape_of(name)
                if child_shape is None:
                    yield f"{path}.{name}: field not declared in schema"
                else:
                    yield from problems(child, child_shape, f"{path}.{name}")
        case list(), Shape(list=ListShape() as list_shape):
            yield from _item_problems(value, list_shape, path)
        case ((str() | bool() | int() | float()), Shape(scalar=Scalar() as scalar)) if fits_scalar(value, scalar):
            return
        case _:
            yield f"{path}: expected {_expected(shape)}, got {type(value).__name__}"


def _item_problems(value: list[Any], shape: ListShape, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if shape.listing is Listing.ATOMIC:
            name = f"[{index}]"
        elif (step := _step(item, shape)) is not None:
            name = fields.name_of((step,))
        else:
            yield f"{path}: element {index}: omits all key fields {list(shape.keys)}, or is none that a set may hold"
            return
        if name in seen:
            yield f"{path}: {DUPLICATE} {name}"
        seen.add(name)
        yield from problems(item, shape.items, f"{path}{name}")


def fits_scalar(value: str | bool | int | float, scalar: Scalar) -> bool:
    match scalar:
        case Scalar.STRING:
            return isinstance(value, str)
        case Scalar.BOOLEAN:
            return isinstance(value, bool)
        case Scalar.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Scalar.ANY:
            return True


def _expected(shape: Shape) -> str:
    kinds = (shape.scalar and shape.scalar.value, shape.list and "list", shape.map and "map")
    return " or ".join(kind for kind in kinds if kind)


def declared_part(value: Any, shape: Shape) -> Any:
    """`value` without the fields that `shape` does not know."""
    match value, shape:
        case dict(), Shape(map=MapShape() as map_shape):
            return {
                name: declared_part(child, child_shape)
                for name, child in value.items()
                if (child_shape := map_shape.shape_of(name)) is not None
            }
        case list(), Shape(list=ListShape() as list_shape):
            return [declared_part(item, list_shape.items) for item in value]
    return value


def with_keys(value: Any, shape: Shape) -> Any:
    """`value` with the keys of list items filled in that have a default: the protocol of a port."""
    match value, shape:
        case dict(), Shape(map=MapShape() as map_shape):
            return {name: with_keys(child, map_shape.shape_of(name) or shape) for name, child in value.items()}
        case list(), Shape(list=ListShape() as list_shape) if list_shape.listing is Listing.KEYED:
            return [{**list_shape.key_defaults, **with_keys(item, list_shape.items)} for item in value]
    return value


def field_set(value: Any, shape: Shape) -> Fields:
    """The fields of `value` that whoever applies it holds: the leaves, and the items of lists with keys."""
    return frozenset(_held(value, shape, ()))


def _held(value: Any, shape: Shape, path: Path) -> Iterator[Path]:
    match _granular(value, shape):
        case MapShape() as map_shape:
            for name, child in value.items():
                child_path = (*path, fields.step_of_name(name))
                if child is None or child == {} or name not in map_shape.fields:
                    yield child_path
                yield from _held(child, map_shape.shape_of(name) or shape, child_path)
        case ListShape() as list_shape:
            for step, item in _items(value, list_shape).items():
                yield (*path, step)
                yield from _held(item, list_shape.items, (*path, step))
        case None:
            yield path


def _granular(value: Any, shape: Shape) -> MapShape | ListShape | None:
    """The shape by whose parts `value` is held; None if it is held as one."""
    if isinstance(value, dict) and shape.map is not None and not shape.map.atomic:
        return shape.map
    if isinstance(value, list) and shape.list is not None and shape.list.listing is not Listing.ATOMIC:
        return shape.list
    return None


def _items(value: list[Any], shape: ListShape) -> dict[str, Any]:
    """The items by their steps; of duplicates, which only an update can bring, the first."""
    items: dict[str, Any] = {}
    for item in value:
        step = _step(item, shape)
        if step is not None:
            items.setdefault(step, item)
    return items


def _step(item: Any, shape: ListShape) -> str | None:
    """The step to `item`; None if it has none."""
    if shape.listing is Listing.SET:
        return None if isinstance(item, dict | list | None) else fields.step_of_item(item)
    if not isinstance(item, dict):
        return None
    keys = {key: item.get(key, shape.key_defaults.get(key)) for key in shape.keys}
    present = {key: value for key, value in keys.items() if value is not None}
    return fields.step_of_keys(present) if present else None


@dataclass(slots=True)
class Difference:
    """The fields that came, went and changed, with the structs, maps and items around those that came or went."""

    added: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)


def difference(old: Any, new: Any, shape: Shape) -> Difference:
    """How `new` differs from `old`."""
    found = Difference()
    _compare(old, new, shape, (), found)
    return found


def _compare(old: Any, new: Any, shape: Shape, path: Path, found: Difference) -> None:
    if old is new:
        return
    if old is ABSENT:
        found.added.update(_all(new, shape, path))
        return
    if new is ABSENT:
        found.removed.update(_all(old, shape, path))
        return
    common = _common(old, new, shape)
    if common is None or not (old or new):
        if not same(old, new):
            found.modified.add(path)
            found.removed.update(_all(old, shape, path) - {path})
            found.added.update(_all(new, shape, path) - {path})
        return
    old_parts, new_parts = _parts(old, common), _parts(new, common)
    for step in old_parts.keys() | new_parts.keys():
        part_shape = _shape_at(step, common)
        _compare(old_parts.get(step, ABSENT), new_parts.get(step, ABSENT), part_shape, (*path, step), found)


def same(old: Any, new: Any) -> bool:
    """Whether both are the same JSON: to Python, true is 1."""
    if old != new:
        return False
    match old:
        case dict():
            return all(same(child, new[name]) for name, child in old.items())
        case list():
            return all(map(same, old, new))
    return isinstance(old, bool) == isinstance(new, bool)


def _common(old: Any, new: Any, shape: Shape) -> MapShape | ListShape | None:
    """The shape by whose parts both are compared, null being without parts; None if they are compared as one."""
    old_shape, new_shape = _granular(old, shape), _granular(new, shape)
    if old is None or new is None:
        return old_shape or new_shape
    return old_shape if old_shape is new_shape else None


def _parts(value: Any, shape: MapShape | ListShape) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(shape, ListShape):
        return _items(value, shape)
    return {fields.step_of_name(name): child for name, child in value.items()}


def _shape_at(step: str, shape: MapShape | ListShape) -> Shape:
    if isinstance(shape, ListShape):
        return shape.items
    found = shape.shape_of(step[2:])
    assert found is not None, f"{step} was let in undeclared"
    return found


def _all(value: Any, shape: Shape, path: Path) -> set[Path]:
    """The path of `value` and those of all its parts."""
    found = {path}
    granular = _granular(value, shape)
    if granular is not None:
        for step, part in _parts(value, granular).items():
            found |= _all(part, _shape_at(step, granular), (*path, step))
    return found


def merged(old: Any, new: Any, shape: Shape) -> Any:
    """`old` with all of `new` written into it."""
    if old is ABSENT or new is ABSENT:
        return old if new is ABSENT else new
    if new is None and old and _granular(old, shape) is not None:
        return old
    match _granular(old, shape), _granular(new, shape):
        case ((MapShape() as map_shape), MapShape()):
            return {
                name: merged(old.get(name, ABSENT), new.get(name, ABSENT), _shape_at(f"f:{name}", map_shape))
                for name in {**old, **new}
            }
        case ((ListShape() as list_shape), ListShape()):
            old_items, new_items = _items(old, list_shape), _items(new, list_shape)
            return [
                merged(old_items.get(step, ABSENT), new_items.get(step, ABSENT), list_shape.items)
                for step in merged_order(list(old_items), list(new_items))
            ]
    return new


def merged_order(old: list[str], new: list[str]) -> list[str]:
    """All of both, each once: those of `new` in its order, before each the ones that only `old` has before it.

    (typed/merge.go, visitListItems)
    """
    shared = [step for step in new if step in old]
    order: list[str] = []
    left, right = 0, 0
    while left < len(old) or right < len(new):
        awaited = next((step for step in shared if step not in order), None)
        if left < len(old) and right < len(new):
            if old[left] == new[right]:
                order.append(old[left])
                left, right = left + 1, right + 1
                continue
            if old[left] in new and awaited is not None and awaited != old[left]:
                left += 1
                continue
        if left < len(old):
            if old[left] not in new:
                order.append(old[left])
                left += 1
                continue
            if old[left] in order:
                left += 1
        if right < len(new):
            order.append(new[right])
            right += 1
    return order


def removed(value: Any, lost: Fields, shape: Shape) -> Any:
    """`value` without the fields `lost`; a map or list of which nothing is left becomes null."""
    return _without(value, fields.tree_of(lost), shape)


def _without(value: Any, lost: Mapping[str, Any], shape: Shape) -> Any:
    match _granular(value, shape):
        case MapShape() as map_shape:
            left = {
                name: _part_left(child, lost, step, _shape_at(step, map_shape))
                for name, child in value.items()
                if not fields.holds(lost, step := fields.step_of_name(name))
            }
            return left or None
        case ListShape() as list_shape:
            items = [
                _part_left(item, lost, step, list_shape.items)
                for step, item in _items(value, list_shape).items()
                if not fields.holds(lost, step)
            ]
            return items or None
    return value


def _part_left(part: Any, lost: Mapping[str, Any], step: str, shape: Shape) -> Any:
    inner = fields.below(lost, step)
    return _without(part, inner, shape) if inner else part


def with_declared_parents(held: Fields, shape: Shape) -> Fields:
    """`held` and the declared fields around each (fieldpath/set.go, EnsureNamedFieldsAreMembers)."""
    return held.union(*(_declared_parents(path, shape) for path in held))


def _declared_parents(path: Path, shape: Shape) -> Iterator[Path]:
    for depth, step in enumerate(path[:-1], start=1):
        if step.startswith("f:") and shape.map is not None:
            if step[2:] in shape.map.fields:
                yield path[:depth]
            inner = shape.map.shape_of(step[2:])
        elif step.startswith("k:") and shape.list is not None:
            inner = shape.list.items
        else:
            return
        if inner is None:
            return
        shape = inner


def nulls(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """The declared fields of `value` that are null and must not be."""
    match value, shape:
        case None, _:
            if not shape.nullable and not _is_open(shape):
                yield path
        case dict(), Shape(map=MapShape() as map_shape):
            for name, child in value.items():
                yield from nulls(child, map_shape.shape_of(name) or shape, f"{path}.{name}".lstrip("."))
        case list(), Shape(list=ListShape() as list_shape):
            for item in value:
                yield from nulls(item, list_shape.items, path)


def _is_open(shape: Shape) -> bool:
    """Anything may stand here."""
    return shape.scalar is Scalar.ANY and shape.map is not None


def without_nulls(value: Any) -> Any:
    """`value` without the fields that are null."""
    match value:
        case dict():
            return {name: without_nulls(child) for name, child in value.items() if child is not None}
        case list():
            return [without_nulls(item) for item in value]
    return value
