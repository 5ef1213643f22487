"""What differs between an object that is there and what is wanted of it, field by field. Pure.

The server normalises what it is sent, and adds to it: fields that nobody asked for are no difference, and neither is
another way to write an amount. What we hold and do not want any more is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

KEYS = ("name", "containerPort", "mountPath", "ip")
"""What may tell the items of a list apart, the first that all of them have."""
FILLED_IN = ("fieldRef", "resourceFieldRef")
"""Structs of texts that are held whole, and in which the server fills in what was left out (core/v1 defaults)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field; None: it is not there."""

    path: str
    before: Any
    after: Any


def changes(wanted: Any, live: Any, held: Any, path: str = "") -> Iterator[Change]:
    """How `live`, of which we hold the part `held`, differs from what is `wanted`."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        held = held if isinstance(held, Mapping) else {}
        yield from _of_fields(wanted, live, held, path, "{path}.{key}" if path else "{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and (key := _key(wanted, live)) is not None:
        held = held if isinstance(held, list) else []
        yield from _of_fields(_by(key, wanted), _by(key, live), _by(key, held), path, "{path}[{key}]")
    elif not _is_same(wanted, live):
        yield Change(path, live, wanted)


def _by(key: str, items: Sequence[Any]) -> dict[Any, Any]:
    return {item[key]: item for item in items if key in item}


def _of_fields(
    wanted: Mapping[Any, Any], live: Mapping[Any, Any], held: Mapping[Any, Any], path: str, place: str
) -> Iterator[Change]:
    for key, value in wanted.items():
        here = place.format(path=path, key=key)
        if key in live:
            yield from changes(value, live[key], held.get(key), here)
        elif not _is_empty(value):
            yield Change(here, None, value)
    for key in held if not path.endswith(FILLED_IN) else ():
        if key not in wanted and not _is_empty(live.get(key)):
            yield Change(place.format(path=path, key=key), live.get(key), None)


def _is_empty(value: Any) -> bool:
    """The server keeps no trace of it."""
    return value is None or value in ("", [], {})


def _key(*lists: Sequence[Any]) -> str | None:
    items = [item for one in lists for item in one]
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    return next((key for key in KEYS if all(key in item for item in items)), None)


def _is_same(wanted: Any, live: Any) -> bool:
    """`live` is what was `wanted`, apart from what the server added to it."""
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(map(_is_same, wanted, live))
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return not any(True for _ in changes(wanted, live, {}))
    if wanted == live or (_is_empty(wanted) and _is_empty(live)):
        return True
    amounts = amount(wanted), amount(live)
    return None not in amounts and amounts[0] == amounts[1]


_AMOUNT = re.compile(r"(?P<number>[+-]?\d+(\.\d*)?|[+-]?\.\d+)(?P<unit>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_UNITS = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def amount(value: Any) -> Decimal | None:
    """What a Quantity such as 80Gi, 500m or 2 is worth; None if it is none (apimachinery pkg/api/resource)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = _AMOUNT.fullmatch(str(value))
    if found is None:
        return None
    number, unit = Decimal(found["number"]), found["unit"] or ""
    return (
        number.scaleb(int(unit[1:])) if unit[:1] in ("e", "E") and unit[1:] else number * _UNITS.get(unit, Decimal(1))
    )
