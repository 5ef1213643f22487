"""How much the gang asks for at this moment, on its way to what was asked of it; integers and values only.

A gang that asks for more pods than there can be waits for ever, and so does every pod in it. It may ask for the
whole only where nothing runs yet, or where the whole runs already:

1. Pods outside of it (made before there was a gang, or taken into another) can fill no place in it. As long as
   there is one, the gang asks for nothing, and each copy starts on its own.
2. As long as it has never started it asks for all that is needed.
3. With all that is needed on nodes it asks for just that.
4. In between it never asks for more than before. A copy that was added starts when there is room for it, and one
   that ends finds its place again while the added one still waits; when all run, 3 counts them in.

All of it is read from live objects, so that a restart of the operator changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, RoleObjects, members
from fusioninfer.build.gang import Member
from fusioninfer.build.gang.schedulers import SCHEDULERS
from fusioninfer.build.gang.volcano import VOLCANO
from fusioninfer.reconcile.facts import Copy, copies_of, copies_wanted, workload_of
from fusioninfer.reconcile.snapshot import Pod, PodGroup, Snapshot


@dataclass(frozen=True, slots=True)
class NextGang:
    """The gang as it is to be sent next."""

    manifest: Manifest
    comes_first: bool
    """Before the workloads: it is new, or asks for less since they are about to shrink. Else after them."""


def next_gang(desired: Desired, snapshot: Snapshot) -> NextGang | None:
    """The next step of the gang; None if there is no need of one.

    One that is not asked for any more stays while pods name it, for they have no place without it.
    """
    service = desired.service
    scheduler = VOLCANO if service.gang is None else SCHEDULERS[service.gang.scheduler]
    mark = (scheduler.group_annotation, names.gang(service.name))
    if service.gang is None and not any(is_inside(pod, mark) for pod in snapshot.pods):
        return None
    roles = tuple(_in_gang(objects, snapshot, mark) for objects in desired.roles)
    copies = {objects.role.name: role.copies for objects, role in zip(desired.roles, roles, strict=True)}
    wanted = members(service, copies)
    before = members_of(snapshot.gang) if snapshot.gang else {}
    begins = snapshot.gang is None or not snapshot.gang.has_started or not any(m.needed for m in before.values())
    asked = next_members(wanted, before, roles, begins=begins)
    return NextGang(scheduler.group(service, asked), snapshot.gang is None or _asks_for_less(asked, before))


def is_inside(pod: Pod, mark: tuple[str, str]) -> bool:
    """`pod` belongs to the gang with that `mark`, the annotation and its value."""
    annotation, gang = mark
    return pod.metadata.annotations.get(annotation) == gang


def members_of(gang: PodGroup) -> dict[str, Member]:
    """By role, what a live gang asks for."""
    return {
        sub_group.name: Member(sub_group.name, sub_group.subGroupSize, sub_group.minSubGroups)
        for sub_group in gang.spec.subGroupPolicy
    }


# --- what runs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InGang:
    """How far the pods of one role are in the gang; pods that end are left out."""

    copies: int
    """That the role should have."""
    on_nodes: int = 0
    """Copies of the present size whose pods are all in the gang and on nodes."""
    any_outside: bool = False
    """A pod is there that does not belong to the gang."""
    any_on_node: bool = False
    smallest: int = 0
    """Nodes of its smallest copy of several nodes, whether its pods are there or not; 0: there is none."""


def _in_gang(objects: RoleObjects, snapshot: Snapshot, mark: tuple[str, str]) -> InGang:
    workload = workload_of(objects, snapshot)
    pods = tuple(pod for pod in snapshot.pods_of(workload) if not pod.ends)
    copies = () if workload is None else copies_of(workload, pods)
    nodes = objects.role.nodes_per_replica
    return InGang(
        copies=copies_wanted(objects.role, workload),
        on_nodes=sum(_is_on_nodes(copy, nodes) for copy in copies),
        any_outside=not all(is_inside(pod, mark) for pod in pods),
        any_on_node=any(pod.spec.nodeName for pod in pods),
        smallest=min((copy.nodes for copy in copies if copy.nodes > 1), default=0),
    )


def _is_on_nodes(copy: Copy, nodes: int) -> bool:
    return copy.nodes == len(copy.pods) == nodes and all(pod.spec.nodeName for pod in copy.pods)


# --- how much is asked for ----------------------------------------------------------------------------------------


def next_members(
    wanted: Sequence[Member], before: Mapping[str, Member], roles: Sequence[InGang], *, begins: bool
) -> tuple[Member, ...]:
    """What the gang asks for next, given what it should, what it asked `before`, and how far its `roles` are.

    It `begins` until what it asks for has had nodes once, and again after it has asked for nothing.
    """
    if any(role.any_outside for role in roles):
        return tuple(Member(member.role, member.nodes, 0) for member in wanted)
    begins = begins and not any(role.any_on_node for role in roles)
    whole = all(role.on_nodes >= member.needed for member, role in zip(wanted, roles, strict=True))
    wanted = tuple(_of_size(member, role.smallest) for member, role in zip(wanted, roles, strict=True))
    if whole or (begins and not _asks_for_less(wanted, before)):
        return wanted
    return tuple(
        _least(member, before[member.role])
        if member.role in before
        else Member(member.role, member.nodes, member.needed if begins else 0)
        for member in wanted
    )


def _of_size(wanted: Member, smallest: int) -> Member:
    """While there are copies of two sizes, the smaller is the one that all of them reach."""
    return Member(wanted.role, min(wanted.nodes, smallest or wanted.nodes), wanted.needed)


def _least(wanted: Member, before: Member) -> Member:
    """Of both what asks for less. A role that gets several nodes per copy begins anew, as another kind of workload."""
    if before.nodes == 1 < wanted.nodes:
        return Member(wanted.role, wanted.nodes, 0)
    nodes = wanted.nodes if wanted.nodes == 1 else min(wanted.nodes, before.nodes)
    return Member(wanted.role, nodes, min(wanted.needed, before.needed))


def _asks_for_less(members: Sequence[Member], before: Mapping[str, Member]) -> bool:
    """Some role has a smaller part in the gang than before, or none any more."""
    now = {member.role: member for member in members}
    return any(
        role not in now or now[role].needed < member.needed or now[role].nodes < member.nodes
        for role, member in before.items()
    )
