"""How many devices, GPUs mostly, a service would ask for against what is free on the nodes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from fusioninfer.api import names
from fusioninfer.build.desired import Desired
from fusioninfer.cli.fields import amount
from fusioninfer.kube.objects import Object
from fusioninfer.reconcile.room import requests

# ruff: noqa: N815 - the names are the wire's


class Condition(msgspec.Struct, frozen=True):
    """One condition of a node."""

    type: str
    status: str = ""


class NodeSpec(msgspec.Struct, frozen=True):
    """Whether pods may come."""

    unschedulable: bool = False


class NodeStatus(msgspec.Struct, frozen=True):
    """What a node has."""

    allocatable: dict[str, str] = {}
    conditions: tuple[Condition, ...] = ()


class Node(Object, frozen=True):
    """A node, as far as its devices go."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def takes_pods(self) -> bool:
        """It is up and not cordoned. Taints are not looked at."""
        ready = any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)
        return ready and not self.spec.unschedulable


class BoundSpec(msgspec.Struct, frozen=True):
    """What a pod asks for, and where it is."""

    containers: tuple[dict[str, Any], ...] = ()
    initContainers: tuple[dict[str, Any], ...] = ()
    nodeName: str = ""


class BoundStatus(msgspec.Struct, frozen=True):
    """Whether a pod still needs what it asked for."""

    phase: str = ""


class BoundPod(Object, frozen=True):
    """Anybody's pod, as far as its devices go."""

    spec: BoundSpec = BoundSpec()
    status: BoundStatus = BoundStatus()

    @property
    def holds(self) -> Mapping[str, Decimal]:
        """The devices that it keeps from others."""
        if not self.spec.nodeName or self.status.phase in ("Succeeded", "Failed"):
            return {}
        template = {"spec": {"containers": self.spec.containers, "initContainers": self.spec.initContainers}}
        return devices(template)


def devices(template: Mapping[str, Any]) -> Mapping[str, Decimal]:
    """What one pod of `template` asks for that only some nodes have: what has a domain, such as nvidia.com/gpu."""
    asked = requests(dict(template))
    return {name: found for name, value in asked.items() if "/" in name and (found := amount(value))}


@dataclass(frozen=True, slots=True)
class Need:
    """Pods that ask for the same."""

    resource: str
    each: Decimal
    pods: int

    @property
    def total(self) -> Decimal:
        return self.each * self.pods


def needs(desired: Desired, copies: Mapping[str, int]) -> tuple[Need, ...]:
    """The devices of all engine roles with so many `copies` each."""
    counted: Counter[tuple[str, Decimal]] = Counter()
    for own in desired.roles:
        leader, worker = own.templates
        nodes = own.role.nodes_per_replica
        for template, pods in ((leader, copies[own.role.name]), (worker, copies[own.role.name] * (nodes - 1))):
            for resource, each in devices(template).items():
                counted[resource, each] += pods
    return tuple(Need(resource, each, pods) for (resource, each), pods in counted.items() if pods)


def against(
    needed: Iterable[Need], nodes: Iterable[Node], pods: Iterable[BoundPod], key: tuple[str, str]
) -> Iterator[str]:
    """A sentence for each kind of device: asked for, held by the service `key` (namespace, name) already, and free."""
    needed, there = tuple(needed), {node.metadata.name: node for node in nodes if node.takes_pods}
    free = {name: _numbers(node.status.allocatable) for name, node in there.items()}
    own: Counter[str] = Counter()
    for pod in pods:
        is_own = (pod.metadata.namespace, pod.metadata.labels.get(names.SERVICE_LABEL, "")) == key
        for resource, held in pod.holds.items():
            if is_own:
                own[resource] += int(held)
            if resource in free.get(pod.spec.nodeName, {}):
                free[pod.spec.nodeName][resource] -= held
    for resource in dict.fromkeys(need.resource for need in needed):
        yield _sentence(resource, [need for need in needed if need.resource == resource], own[resource], free)


def asked(needed: Iterable[Need]) -> str:
    """In words, such as "16 nvidia.com/gpu (2 pods x 8)"."""
    grouped: dict[str, list[Need]] = {}
    for need in needed:
        grouped.setdefault(need.resource, []).append(need)
    return "; ".join(
        f"{sum(need.total for need in some)} {resource} ({' and '.join(_pods(need) for need in some)})"
        for resource, some in grouped.items()
    )


def _numbers(allocatable: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: found for name, value in allocatable.items() if "/" in name and (found := amount(value)) is not None}


def _pods(need: Need) -> str:
    return f"{need.pods} pod{'s' * (need.pods != 1)} x {need.each}"


def _sentence(resource: str, some: list[Need], own: int, free: Mapping[str, Mapping[str, Decimal]]) -> str:
    total = sum(need.total for need in some)
    rooms = [room[resource] for room in free.values() if room.get(resource, Decimal(0)) > 0]
    words = (
        f"asks for {asked(some)}, holds {own} now; {sum(rooms)} are free on {len(rooms)} node{'s' * (len(rooms) != 1)}"
    )
    short = total - own - sum(rooms)
    if short > 0:
        return f"{words}: {short} short"
    largest = max(need.each for need in some)
    places = sum(int(room // largest) for room in rooms)
    if total > own and not places:
        return f"{words}, but none of them has {largest} for one pod"
    return f"{words}: enough" if total > own else words
