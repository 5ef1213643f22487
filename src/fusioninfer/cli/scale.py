"""`fusioninfer scale`: another number of copies, where it belongs and in the spelling that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import InvalidSpec
from fusioninfer.cli.look import Missing, read_service
from fusioninfer.cli.view import roles_in, written
from fusioninfer.kube import errors
from fusioninfer.kube.objects import Object
from fusioninfer.kube.requests import Kube, Request, Resource
from fusioninfer.reconcile.snapshot import DEPLOYMENTS, LEADER_WORKER_SETS, SERVICES, STATEFUL_SETS, Service

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
SPELLINGS = ("replicas", "roleReplicas")
MANAGER = "fusioninfer-scale"
"""Field manager of what a person scales; not the operator's."""


@dataclass(frozen=True, slots=True)
class InTheSpec:
    """The role gives its number: it is changed there, in each spelling that stands there."""

    index: int
    role: str
    before: Mapping[str, int]
    """By spelling."""

    def request(self, service: Service, replicas: int) -> Request:
        """Refused if the role or its number is not what was seen any more."""
        here = f"/spec/roles/{self.index}"
        patch: list[Mapping[str, Any]] = [{"op": "test", "path": f"{here}/name", "value": self.role}]
        for spelling, before in self.before.items():
            patch.append({"op": "test", "path": f"{here}/{spelling}", "value": before})
            patch.append({"op": "replace", "path": f"{here}/{spelling}", "value": replicas})
        path = SERVICES.path(service.metadata.namespace, service.metadata.name)
        return Request("PATCH", path, {"fieldManager": MANAGER}, msgspec.json.encode(patch), JSON_PATCH)


class ScaleSpec(msgspec.Struct, frozen=True):
    """autoscaling/v1 ScaleSpec."""

    replicas: int = 0


class Scale(Object, frozen=True):
    """autoscaling/v1 Scale."""

    spec: ScaleSpec = ScaleSpec()


async def scale(kube: Kube, namespace: str, name: str, role: str, replicas: int) -> str:
    """Give `role` so many copies; what was done, in a sentence. Raises Missing, InvalidSpec, and KubeError."""
    service = await read_service(kube, namespace, name)
    place = place_of(service, role)
    if place is None:
        return await _in_the_workload(kube, service, role, replicas)
    (before,) = set(place.before.values())
    check(service, place, replicas)
    if before == replicas:
        return f"{name}, role {role}: {' and '.join(place.before)} is {replicas} already"
    try:
        await kube.send(place.request(service, replicas))
    except errors.Refused as refusal:
        raise Missing(
            f"{name}, role {role}: {refusal.status.message}; somebody may have changed it meanwhile"
        ) from None
    return f"{name}, role {role}: {' and '.join(place.before)} {before} → {replicas}"


def place_of(service: Service, role: str) -> InTheSpec | None:
    """Where the spec gives the number; None if it leaves it to the workload's /scale. Raises Missing."""
    roles = roles_in(written(service))
    for index, one in enumerate(roles):
        if one.get("name") == role:
            given = {spelling: one[spelling] for spelling in SPELLINGS if one.get(spelling) is not None}
            return InTheSpec(index, role, given) if given else None
    there = ", ".join(str(one.get("name")) for one in roles)
    raise Missing(f"service {service.metadata.name} has no role {role}; there are {there}")


def check(service: Service, place: InTheSpec, replicas: int) -> None:
    """Raises InvalidSpec if the spec would be refused with so many copies, and is not without."""
    raw = service.raw
    try:
        parse(raw)
    except InvalidSpec:
        return  # what is wrong with it is no matter of ours
    raw["spec"]["roles"][place.index] |= dict.fromkeys(place.before, replicas)
    parse(raw)


async def _in_the_workload(kube: Kube, service: Service, role: str, replicas: int) -> str:
    """The number belongs to whoever scales the workload: a person, an HPA, KEDA."""
    name = names.workload(service.metadata.name, role)
    resource = workload_kind(service, role)
    path = resource.path(service.metadata.namespace, name, "scale")
    seen = msgspec.json.decode(await kube.send(Request("GET", path)), type=Scale)
    change = {"metadata": {"resourceVersion": seen.metadata.resourceVersion}, "spec": {"replicas": replicas}}
    if seen.spec.replicas != replicas:
        await kube.send(Request("PATCH", path, {"fieldManager": MANAGER}, msgspec.json.encode(change), MERGE_PATCH))
    return (
        f"{service.metadata.name}, role {role}: {resource.kind} {name} {seen.spec.replicas} → {replicas}; "
        "the role gives no replicas, so that an autoscaler, if there is one, may change it again"
    )


def workload_kind(service: Service, role: str) -> Resource:
    """What runs the pods of `role`, by its spec."""
    one = next(one for one in roles_in(written(service)) if one.get("name") == role)
    if one.get("componentType") == "router":
        return DEPLOYMENTS
    nodes = (one.get("multinode") or {}).get("nodeCount") or one.get("podReplicas") or 1
    return LEADER_WORKER_SETS if nodes > 1 else STATEFUL_SETS
