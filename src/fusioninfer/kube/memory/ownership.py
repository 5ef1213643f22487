"""What becomes of an object, and of who holds its fields, when somebody applies or updates it. Pure.

After structured-merge-diff v6 merge/update.go, and apimachinery managedfields/internal around it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fusioninfer.kube.memory import fields, values
from fusioninfer.kube.memory.fields import NEVER_HELD, Entries, Fields, Writer
from fusioninfer.kube.memory.schema import Shape

BEFORE_FIRST_APPLY = "before-first-apply"
"""Holds what an object without managedFields had when somebody first applied it."""


class FieldConflict(Exception):
    """Others hold some of the applied fields with other values: `held` says who, and which."""

    def __init__(self, held: Entries) -> None:
        super().__init__(held)
        self.held = held


def created(value: Any, shape: Shape, writer: Writer) -> Entries:
    """Who holds the fields of an object that `writer` created by POST."""
    return updated({}, value, (), shape, writer)


def updated(old: Any, new: Any, entries: Entries, shape: Shape, writer: Writer) -> Entries:
    """Who holds what after `writer` replaced `old` by `new`: whatever it changed is its own now.

    Of an object that exists and that nobody holds anything of, nobody will until it is applied.
    """
    if old and not entries:
        return ()
    change = values.difference(old, new, shape)
    taken = frozenset(change.added | change.modified) - NEVER_HELD
    kept = fields.held_by(entries, writer) - change.removed
    left = fields.without(entries, taken | change.removed)
    return fields.with_entry(left, writer, kept | taken, changed=bool(taken))


def applied(
    live: Any, config: Any, entries: Entries, shape: Shape, writer: Writer, *, force: bool
) -> tuple[Any, Entries]:
    """What becomes of `live` when `writer` applies `config`, and who holds what then.

    Fields that the writer applied last time and does not now are removed, unless somebody else holds them.
    Raises FieldConflict, unless `force` takes what others hold.
    """
    if not entries and live:
        entries = updated({}, live, (), shape, replace(writer, manager=BEFORE_FIRST_APPLY, operation="Update"))
    claimed = values.field_set(config, shape)
    rest = fields.others(entries, writer)
    result = _pruned(values.merged(live, config, shape), fields.held_by(entries, writer), claimed, rest, shape)
    change = values.difference(live, result, shape)
    taken = frozenset(change.added | change.modified)
    if not force:
        _refuse_conflicts(rest, taken)
    left = fields.without(rest, taken | change.removed)
    changed = bool(taken or change.removed)
    before = tuple(entry for entry in entries if entry.writer.identity == writer.identity)
    return result, fields.with_entry((*left, *before), writer, claimed - NEVER_HELD, changed)


def _refuse_conflicts(rest: Entries, taken: Fields) -> None:
    held = tuple(replace(entry, fields=entry.fields & taken) for entry in rest if entry.fields & taken)
    if held:
        raise FieldConflict(held)


def _pruned(value: Any, last: Fields, claimed: Fields, rest: Entries, shape: Shape) -> Any:
    """`value` without the fields of `last` that neither `claimed` nor `rest` hold."""
    held = claimed.union(*(entry.fields for entry in rest))
    if last <= held:
        return value
    last = values.with_declared_parents(last, shape)
    everything = values.with_declared_parents(values.field_set(value, shape), shape)
    # What is in a struct or item that goes goes with it, but for what is held, and for what the writer never held.
    kept = values.field_set(values.removed(value, last, shape), shape) | held
    kept = values.with_declared_parents(kept, shape)
    without_unheld = values.removed(value, everything - kept, shape)
    kept = values.with_declared_parents(values.field_set(without_unheld, shape), shape)
    return values.removed(value, (everything - kept) & last, shape)
