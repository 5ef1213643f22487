"""Which values a picker takes where, in the few words in which a release's file says so.

bool, string, any            as they are
int, int >= 0, int > 0       whole numbers
port                         1 to 65535
float, float >= 0, float > 0 numbers
fraction                     a number from 0 to 1
duration                     Go's: "1m30s"
quantity                     Kubernetes': 64Mi, or a number
http | https                 one of these words
ref scorer                   the name of a plug-in with this slot; `ref a, b`: with one of these slots;
                             `ref decider = x`: x, if nothing is written
profile, profile = x         the name of a profile
label key, label value       of pods; a value is one of the key that stands beside it
label selector               matchLabels and matchExpressions
[shape]                      a list
{name: shape}                a mapping with these fields; `*` stands for any name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Shape = str | list["Shape"] | dict[str, "Shape"]
"""One of these."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A kind of single values."""

    words: str
    """What is to be written, for messages."""
    takes: Callable[[object], bool]


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_int(value)


def _above(value: object, least: float, strictly: bool = False) -> bool:
    return isinstance(value, int | float) and (value > least if strictly else value >= least)


_DURATION = re.compile(r"[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+|0")
_QUANTITY = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?")

SCALARS: Mapping[str, Scalar] = {
    "bool": Scalar("true or false", lambda v: isinstance(v, bool)),
    "string": Scalar("a string", lambda v: isinstance(v, str)),
    "int": Scalar("a whole number", _is_int),
    "int >= 0": Scalar("a whole number, 0 or more", lambda v: _is_int(v) and _above(v, 0)),
    "int > 0": Scalar("a whole number above 0", lambda v: _is_int(v) and _above(v, 0, strictly=True)),
    "port": Scalar("a port, 1 to 65535", lambda v: _is_int(v) and _above(v, 1) and not _above(v, 65535, strictly=True)),
    "float": Scalar("a number", _is_number),
    "float >= 0": Scalar("a number, 0 or more", lambda v: _is_number(v) and _above(v, 0)),
    "float > 0": Scalar("a number above 0", lambda v: _is_number(v) and _above(v, 0, strictly=True)),
    "fraction": Scalar(
        "a number from 0 to 1", lambda v: _is_number(v) and _above(v, 0) and not _above(v, 1, strictly=True)
    ),
    "duration": Scalar('a duration such as "30s"', lambda v: isinstance(v, str) and bool(_DURATION.fullmatch(v))),
    "quantity": Scalar(
        "a quantity such as 64Mi",
        lambda v: _is_number(v) or (isinstance(v, str) and bool(_QUANTITY.fullmatch(v))),
    ),
}

OTHERS = ("label key", "label value", "label selector", "any")
"""Words for which labels.py has the rules, and the one that has none."""


@dataclass(frozen=True, slots=True)
class Reference:
    """To a plug-in of the config, or to one of its profiles."""

    slots: tuple[str, ...]
    """The plug-in has one of these; none: the name is a profile's."""
    default: str | None
    """What is referred to if nothing is written; None: then nothing is."""


def reference(word: str) -> Reference | None:
    """What `ref …` and `profile …` mean; None for every other word."""
    name, _, default = (part.strip() for part in word.partition(" = "))
    if name == "profile":
        return Reference((), default or None)
    if name.startswith("ref "):
        return Reference(tuple(slot.strip() for slot in name[4:].split(",")), default or None)
    return None


def choices(word: str) -> tuple[str, ...]:
    """The words of `a | b`; none if it is no such choice."""
    return tuple(part.strip() for part in word.split("|")) if "|" in word else ()


def unknown_words(shape: object) -> Iterator[str]:
    """What in `shape` means nothing."""
    match shape:
        case str():
            if not (shape in SCALARS or shape in OTHERS or choices(shape) or reference(shape)):
                yield shape
        case [item]:
            yield from unknown_words(item)
        case dict():
            for part in shape.values():
                yield from unknown_words(part)
        case _:
            yield repr(shape)
