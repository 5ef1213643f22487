"""What is shown of a service, as values: for the tree, the table, and `-o json`. Pure.

The words are those of the status; what it does not tell of, pods and hops, is judged by the rules that it is made by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import msgspec
from msgspec import UnsetType

from fusioninfer.api import names, types
from fusioninfer.api.types import Address, Component, Condition, InferenceServiceStatus, LastFailure
from fusioninfer.cli.look import Looked
from fusioninfer.reconcile import hops, trouble
from fusioninfer.reconcile.gateway_api import GATEWAYS, HTTP_ROUTES, POOLS, Gateway, HTTPRoute, Pool
from fusioninfer.reconcile.snapshot import LWS_GROUP, POD_GROUPS, PodGroup, Service
from fusioninfer.reconcile.snapshot import Pod as SeenPod

# ruff: noqa: N815 - the names are those of the status


class Pod(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pod."""

    name: str
    copy: int
    """Of its role; -1: its workload does not count them."""
    ready: bool
    node: str = ""
    restarts: int = 0
    created: str = ""
    reason: str = ""
    """Why it is not ready, in a word; empty if it is."""
    message: str = ""


class Role(msgspec.Struct, frozen=True):
    """One role."""

    name: str
    componentType: str
    status: Component | None
    """None: the status does not tell of it yet."""
    pods: tuple[Pod, ...]

    @property
    def workload(self) -> str:
        """Such as "StatefulSet demo-inference"; empty if the status does not say it."""
        if self.status is None or isinstance(self.status.workload, UnsetType):
            return ""
        return f"{self.status.workload.kind} {self.status.workload.name}"

    @property
    def last_failure(self) -> LastFailure | None:
        """The crash that the status remembers."""
        return self.status.lastFailure or None if self.status else None

    @property
    def is_whole(self) -> bool:
        """Every copy is there, ready, and of the present template."""
        told = self.status
        return told is not None and told.readyReplicas == told.updatedReplicas == told.desiredReplicas


class Gang(msgspec.Struct, frozen=True):
    """What makes the pods start together."""

    kind: str
    name: str
    phase: str
    queue: str
    asks: str
    """How much must fit, in words."""


class Hop(msgspec.Struct, frozen=True):
    """One thing between a gateway and the router's pods."""

    kind: str
    name: str
    isOpen: bool
    message: str


class View(msgspec.Struct, frozen=True):
    """All that is shown of one service."""

    namespace: str
    name: str
    generation: int
    created: str
    status: InferenceServiceStatus | None
    roles: tuple[Role, ...] = ()
    gang: Gang | None = None
    hops: tuple[Hop, ...] = ()
    unread: tuple[str, ...] = ()
    """What could not be read, each in one sentence."""

    @property
    def url(self) -> str:
        return self.status.url or "" if self.status else ""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The other ways to it: by gateways."""
        every = self.status.addresses or () if self.status else ()
        return tuple(address for address in every if address.url != self.url)

    @property
    def is_seen(self) -> bool:
        """The status speaks of the present generation."""
        return self.status is not None and self.status.observedGeneration == self.generation

    def condition(self, kind: str) -> Condition | None:
        told = self.status.conditions if self.status else ()
        return next((condition for condition in told if condition.type == kind), None)

    @property
    def is_ready(self) -> bool:
        """This generation of it is Ready."""
        ready = self.condition("Ready")
        return self.is_seen and ready is not None and ready.status == "True"

    @property
    def unwished(self) -> tuple[Condition, ...]:
        """The conditions that are not as one wishes them."""
        told = self.status.conditions if self.status else ()
        return tuple(condition for condition in told if not is_as_wished(condition))


WISHED = {"Degraded": "False", "Stalled": "False"}
"""What is no good news when it is True; all others are good news then."""
QUIET = {"Progressing": "RolledOut", "Accepted": "Accepted"}
"""The reason with which a condition has nothing to tell, whatever it answers."""


def is_as_wished(condition: Condition) -> bool:
    """It tells of nothing that somebody may want to do something about, or wait for."""
    if condition.type in QUIET:
        return condition.reason == QUIET[condition.type]
    return condition.status == WISHED.get(condition.type, "True")


def view_of(looked: Looked) -> View:
    """What is shown of what was seen."""
    service = looked.service
    spec, status = written(service), status_of(service)
    metadata = service.metadata
    return View(
        namespace=metadata.namespace,
        name=metadata.name,
        generation=metadata.generation,
        created=metadata.creationTimestamp or "",
        status=status,
        roles=tuple(_roles(spec, status, looked)),
        gang=next(map(_gang, looked.of_kind(PodGroup)), None),
        hops=tuple(_hops(looked)),
        unread=tuple(_unread(spec, looked)),
    )


def written(service: Service) -> Mapping[str, Any]:
    """The spec, as it is; empty if it is no object."""
    spec = msgspec.json.decode(service.spec)
    return spec if isinstance(spec, Mapping) else {}


def status_of(service: Service) -> InferenceServiceStatus | None:
    """The status; None if there is none, or none that this version can read."""
    try:
        return msgspec.json.decode(service.status, type=InferenceServiceStatus)
    except msgspec.ValidationError:
        return None


def roles_in(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The roles that a spec asks for, as they are written."""
    roles = spec.get("roles")
    return [role for role in roles if isinstance(role, Mapping)] if isinstance(roles, list) else []


def _roles(spec: Mapping[str, Any], status: InferenceServiceStatus | None, looked: Looked) -> Iterable[Role]:
    told = status.components if status else {}
    kinds = {str(role.get("name")): str(role.get("componentType", "")) for role in roles_in(spec)}
    labelled = {name: kind for name, kind in map(_labelled, looked.pods) if name}
    for name in dict.fromkeys((*kinds, *told, *labelled)):
        mine = sorted((pod for pod in looked.pods if _labelled(pod)[0] == name), key=_order)
        kind = kinds.get(name) or labelled.get(name, "")
        yield Role(name, kind, told.get(name), tuple(map(_pod, mine)))


def _labelled(pod: SeenPod) -> tuple[str, str]:
    labels = pod.metadata.labels
    return labels.get(names.ROLE_LABEL, ""), labels.get(names.COMPONENT_TYPE_LABEL, "")


def _order(pod: SeenPod) -> tuple[int, int, str]:
    return _copy(pod), pod.node, pod.metadata.name


def _copy(pod: SeenPod) -> int:
    group = pod.metadata.labels.get(LWS_GROUP, "")
    return int(group) if group.isdecimal() else pod.index


def _pod(pod: SeenPod) -> Pod:
    found = trouble.of_pod(pod)
    is_ending = pod.ends and (found is None or not found.is_failure)
    return Pod(
        name=pod.metadata.name,
        copy=_copy(pod),
        ready=pod.ready,
        node=pod.spec.nodeName,
        restarts=sum(container.restartCount for container in pod.status.containerStatuses),
        created=pod.metadata.creationTimestamp or "",
        reason="Terminating" if is_ending else found.reason if found else "",
        message="it was told to end" if is_ending else found.message if found else "",
    )


def copies(role: Role) -> list[tuple[int, tuple[Pod, ...]]]:
    """The pods of a role whose copies have several nodes, copy by copy."""
    return [(index, tuple(pods)) for index, pods in groupby(role.pods, lambda pod: pod.copy)]


def _gang(group: PodGroup) -> Gang:
    parts = [
        f"{part.minSubGroups} of {part.name}" + (f" x {part.subGroupSize} pods" if part.subGroupSize > 1 else "")
        for part in group.spec.subGroupPolicy
    ]
    least = group.spec.minMember
    asks = f"{least} pod{'s' * (least != 1)}" + (f" ({', '.join(parts)})" if parts else "")
    phase = group.status.phase or "Pending"
    return Gang(POD_GROUPS.kind, group.metadata.name, phase, group.spec.queue or "default", asks)


def _hops(looked: Looked) -> Iterable[Hop]:
    kinds: tuple[tuple[str, type[Gateway | HTTPRoute | Pool]], ...] = (
        (GATEWAYS.kind, Gateway),
        (HTTP_ROUTES.kind, HTTPRoute),
        (POOLS.kind, Pool),
    )
    behind_a_gateway = bool(looked.of_kind(HTTPRoute))
    for kind, read_as in kinds:
        for hop in looked.of_kind(read_as):
            closed = hops.closed_by_itself(hop) if behind_a_gateway else None
            words = "requests get through" if behind_a_gateway else "for the picker alone: no gateway leads here"
            yield Hop(kind, hop.metadata.name, closed is None, closed.message if closed else words)


def _unread(spec: Mapping[str, Any], looked: Looked) -> Iterable[str]:
    """Only what matters to this service."""
    scheduling = spec.get("schedulingStrategy")
    has_gang = isinstance(scheduling, Mapping) and scheduling.get("schedulerName") in types.GANG_SCHEDULERS
    has_route = any("httproute" in role or "gateway" in role for role in roles_in(spec))
    for kind, why in looked.unread.items():
        if (kind == POD_GROUPS.kind and not has_gang) or (kind in _OF_GATEWAYS and not has_route):
            continue
        yield f"{kind}: {why}"


_OF_GATEWAYS = (GATEWAYS.kind, HTTP_ROUTES.kind, POOLS.kind)


# --- words beside a name, which they need not repeat --------------------------------------------------------------


def why(pod: Pod) -> str:
    """Why `pod` is not ready: its reason, unless the message has it, and its message."""
    words = pod.message.removeprefix(f"pod {pod.name}, ").removeprefix(f"pod {pod.name} ")
    return words if pod.reason in words else f"{pod.reason}: {words}"


def words_of(hop: Hop) -> str:
    """What its controller says."""
    return hop.message.removeprefix(f"{hop.kind} {hop.name}").removeprefix(": ").strip()


# --- many services ------------------------------------------------------------------------------------------------


class Row(msgspec.Struct, frozen=True):
    """One service among many."""

    namespace: str
    name: str
    ready: str
    """The answer of Ready; Unknown if there is none of the present generation."""
    reason: str
    message: str
    roles: dict[str, str]
    """By name: ready of desired copies."""
    url: str
    created: str


def row_of(service: Service) -> Row:
    """What a table shows of `service`."""
    status, metadata = status_of(service), service.metadata
    seen = View(metadata.namespace, metadata.name, metadata.generation, metadata.creationTimestamp or "", status)
    ready = seen.condition("Ready")
    told = status.components.items() if status else ()
    stale = not seen.is_seen
    return Row(
        namespace=seen.namespace,
        name=seen.name,
        ready="Unknown" if stale or ready is None else ready.status,
        reason="NotSeenYet" if stale or ready is None else ready.reason,
        message=NOT_SEEN if stale or ready is None else ready.message,
        roles={name: f"{part.readyReplicas}/{part.desiredReplicas}" for name, part in told},
        url=seen.url,
        created=seen.created,
    )


NOT_SEEN = "no status of this generation yet; does the operator run, and does it watch this namespace?"
