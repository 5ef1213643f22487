"""Writes by several managers, drawn at random, such as no person would think of."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from fusioninfer.kube.memory import MERGE_PATCH
from fusioninfer.kube.requests import APPLY, Manifest, Request
from tests.contract.widgets import WIDGETS

MANAGERS = ("anna", "bert", "carl")


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one manager to the object `w`, as a body for any namespace."""

    manager: str
    body: Manifest
    content_type: str
    subresource: str = ""
    force: bool = True

    def request(self, namespace: str) -> Request:
        query = {"fieldManager": self.manager}
        if self.content_type == APPLY and self.force:
            query["force"] = "true"
        path = WIDGETS.path(namespace, "w", self.subresource)
        return Request("PATCH", path, query, msgspec.json.encode(self.body), self.content_type)


def writes(seed: int, count: int) -> list[Write]:
    """`count` writes; the same for the same seed."""
    dice = random.Random(seed)
    return [dice.choices(_WRITES, _WEIGHTS)[0](dice) for _ in range(count)]


def _applied(dice: random.Random) -> Write:
    body = {**_whole(_metadata(dice)), "spec": _spec(dice)}
    return Write(dice.choice(MANAGERS), body, APPLY, force=dice.random() < 0.8)


def _status_applied(dice: random.Random) -> Write:
    body = {**_whole({}), "status": _status(dice)}
    return Write(dice.choice(MANAGERS), body, APPLY, "status", force=dice.random() < 0.8)


def _patched(dice: random.Random) -> Write:
    spec = {name: None if dice.random() < 0.2 else value for name, value in _spec(dice).items()}
    labels = {"metadata": {"labels": {"a": dice.choice([None, "7"])}}} if dice.random() < 0.3 else {}
    return Write(dice.choice(MANAGERS), {"spec": spec, **labels}, MERGE_PATCH)


def _status_patched(dice: random.Random) -> Write:
    return Write(dice.choice(MANAGERS), {"status": _status(dice)}, MERGE_PATCH, "status")


_WRITES: tuple[Callable[[random.Random], Write], ...] = (_applied, _status_applied, _patched, _status_patched)
_WEIGHTS = (5, 1, 2, 1)


def _whole(metadata: Manifest) -> Manifest:
    return {"apiVersion": WIDGETS.api_version, "kind": WIDGETS.kind, "metadata": {"name": "w", **metadata}}


def _metadata(dice: random.Random) -> Manifest:
    return _some(dice, labels=lambda: _map(dice, "ab", "12"), annotations=lambda: _map(dice, "cd", "12"))


def _spec(dice: random.Random) -> Manifest:
    return _some(
        dice,
        size=lambda: dice.choice(["small", "large"]),
        replicas=lambda: dice.randint(0, 2),
        words=lambda: dice.choices("xyz", k=dice.randint(0, 3)),
        tags=lambda: _sample(dice, "pqrs"),
        selector=lambda: _map(dice, "ab", "12"),
        box=lambda: {name: dice.randint(0, 1) for name in _sample(dice, ["height", "width"])},
        parts=lambda: [{"name": name, **_part(dice)} for name in _sample(dice, "klmno")],
        free=lambda: {name: _anything(dice, depth=2) for name in _sample(dice, "uvw")},
    )


def _part(dice: random.Random) -> Manifest:
    return _some(dice, weight=lambda: dice.randint(0, 1), colour=lambda: dice.choice(["red", "green"]))


def _anything(dice: random.Random, depth: int) -> Any:
    kind = dice.random()
    if kind < 0.3 or depth == 0:
        return dice.choice([1, "text", True])
    if kind < 0.5:
        return dice.choices([1, 2], k=dice.randint(0, 2))
    return {name: _anything(dice, depth - 1) for name in _sample(dice, "uvw")}


def _status(dice: random.Random) -> Manifest:
    return _some(
        dice,
        phase=lambda: dice.choice(["Up", "Down"]),
        counts=lambda: {name: dice.randint(0, 1) for name in _sample(dice, "ab")},
        conditions=lambda: [{"type": kind, "status": dice.choice("TF")} for kind in _sample(dice, "ABC")],
    )


def _some(dice: random.Random, **members: Callable[[], Any]) -> Manifest:
    return {name: member() for name, member in members.items() if dice.random() < 0.6}


def _map(dice: random.Random, names: str, values: str) -> dict[str, str]:
    return {name: dice.choice(values) for name in _sample(dice, names)}


def _sample(dice: random.Random, names: str | list[str]) -> list[str]:
    return dice.sample(list(names), dice.randint(0, len(names)))
