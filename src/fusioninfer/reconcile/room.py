"""What room the pods of a service wait for, counted from what schedulers write on the pods; nodes are never read.

Both the default scheduler and Volcano leave on a pod without a node the condition PodScheduled=False. Its message
names what nodes lack ("5 Insufficient nvidia.com/gpu"). On a pod that fits and waits
for its gang alone Volcano's reason is Schedulable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fusioninfer.api.service import Manifest
from fusioninfer.reconcile.facts import Copy, RoleFacts
from fusioninfer.reconcile.snapshot import ABOUT_THE_GANG, FITS, Pod

_AMOUNT = re.compile(r"(?P<number>[0-9]+)(?P<unit>[A-Za-z]*)")
_LACKING = re.compile(r"Insufficient ([\w./-]*\w)")


@dataclass(frozen=True, slots=True)
class Room:
    """Pods of one service that have no node."""

    waiting: tuple[tuple[RoleFacts, Pod], ...]

    @property
    def fitting(self) -> int:
        """Pods that could have a node now, and wait for others."""
        return sum(fits(pod) for _, pod in self.waiting)

    @property
    def is_gated(self) -> bool:
        """Some of them are held back by a scheduling gate, which is no matter of room."""
        return any(_reason(pod) == "SchedulingGated" for _, pod in self.waiting)

    @property
    def needs(self) -> str:
        """Such as "10 pods x 4 nvidia.com/gpu"."""
        asked = Counter(_listed(requests(_template(facts, pod))) for facts, pod in self.waiting)
        return " and ".join(
            f"{count} pod{'s' * (count != 1)}" + (f" x {each}" if each else "") for each, count in asked.items()
        )

    @property
    def short(self) -> str:
        """Such as "8 nvidia.com/gpu short for prefill on nodes with gpu=a100"; empty if all fit."""
        return "; ".join(self._shortages())

    def _shortages(self) -> Iterator[str]:
        for facts in {facts.role.name: facts for facts, _ in self.waiting}.values():
            lacking: dict[str, list[str]] = {}
            for owner, pod in self.waiting:
                if owner is facts:
                    for resource, amount in _lacking(pod, requests(_template(facts, pod))).items():
                        lacking.setdefault(resource, []).append(amount)
            if lacking:
                amounts = ", ".join(f"{_sum(each)} {resource}" for resource, each in lacking.items())
                selector = facts.leader["spec"].get("nodeSelector") or {}
                where = ", ".join(f"{label}={value}" for label, value in selector.items())
                yield f"{amounts} short for {facts.role.name}" + (f" on nodes with {where}" if where else "")

    @property
    def said(self) -> str:
        """What the scheduler says of nodes, on most of the pods that fit nowhere; empty if nothing."""
        words = Counter(
            message
            for _, pod in self.waiting
            if not fits(pod) and (message := _message(pod)) and not message.startswith(ABOUT_THE_GANG)
        )
        return words.most_common(1)[0][0] if words else ""


def room_of(pods: Iterable[tuple[RoleFacts, Pod]]) -> Room:
    """Those of `pods` that a scheduler has looked at and that have no node."""
    return Room(
        tuple(
            (facts, pod)
            for facts, pod in pods
            if not pod.spec.nodeName and (found := pod.condition("PodScheduled")) and found.status == "False"
        )
    )


def nearest(facts: RoleFacts, copies: int) -> tuple[tuple[RoleFacts, Pod], ...]:
    """The pods of so many copies of a role: those that have the most nodes, or could have."""

    def placed(copy: Copy) -> int:
        return sum(bool(pod.spec.nodeName) or fits(pod) for pod in copy.pods)

    chosen = sorted(facts.copies, key=placed, reverse=True)[:copies]
    return tuple((facts, pod) for copy in chosen for pod in copy.pods)


def fits(pod: Pod) -> bool:
    """There is a node for `pod`, which does not get it before others fit too."""
    return _reason(pod) == FITS


def copies_that_could_start(facts: RoleFacts) -> int:
    """Copies all of whose pods have a node or could have one now."""
    return sum(
        len(copy.pods) == copy.nodes and all(pod.spec.nodeName or fits(pod) for pod in copy.pods)
        for copy in facts.copies
    )


def requests(template: Manifest) -> dict[str, str]:
    """What one pod of `template` requests, by resource; a limit without a request is one (pod API)."""
    found: dict[str, list[str]] = {}
    sidecars = [c for c in template["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*template["spec"]["containers"], *sidecars):
        resources = container.get("resources") or {}
        for resource, amount in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            found.setdefault(resource, []).append(str(amount))
    return {resource: _sum(amounts) for resource, amounts in found.items()}


def _sum(amounts: list[str]) -> str:
    """Whole numbers of one unit added up; else as they were written."""
    parts = [_AMOUNT.fullmatch(amount) for amount in amounts]
    units = {part["unit"] if part else None for part in parts}
    if len(units) == 1 and None not in units:
        return f"{sum(int(part['number']) for part in parts if part)}{units.pop()}"
    return " + ".join(
        f"{count} x ({amount})" if count > 1 and " " in amount else f"{count} x {amount}" if count > 1 else amount
        for amount, count in Counter(amounts).items()
    )


def _lacking(pod: Pod, requested: Mapping[str, str]) -> dict[str, str]:
    """What of its requests `pod` lacks: as its scheduler says, else what few nodes have, else all of it."""
    if _reason(pod) != "Unschedulable":
        return {}
    named = {resource for resource in _LACKING.findall(_message(pod)) if resource in requested}
    scarce = named or {resource for resource in requested if "/" in resource} or set(requested)
    return {resource: amount for resource, amount in requested.items() if resource in scarce}


def _listed(requested: Mapping[str, str]) -> str:
    """The requests in words: devices if there are any, else all."""
    devices = {resource: amount for resource, amount in requested.items() if "/" in resource}
    return ", ".join(f"{amount} {resource}" for resource, amount in (devices or requested).items())


def _reason(pod: Pod) -> str | None:
    condition = pod.condition("PodScheduled")
    return condition.reason if condition else None


def _message(pod: Pod) -> str:
    condition = pod.condition("PodScheduled")
    return (condition.message or "").rstrip(".") if condition else ""


def _template(facts: RoleFacts, pod: Pod) -> Manifest:
    return facts.worker if pod.node else facts.leader
