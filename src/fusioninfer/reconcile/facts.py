"""What is so of each role, counted once from the snapshot; `status` judges by these values alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from fusioninfer.api.service import InferenceService, Manifest, Role
from fusioninfer.api.types import Address, LastFailure
from fusioninfer.build.desired import Desired, RoleObjects
from fusioninfer.build.gang.schedulers import mark_of
from fusioninfer.kube.requests import Resource
from fusioninfer.reconcile import trouble
from fusioninfer.reconcile.hops import ClosedHop, addresses, closed_hop
from fusioninfer.reconcile.snapshot import (
    CHILDREN,
    WORKLOADS,
    ContainerStatus,
    Deployment,
    Pod,
    PodGroup,
    Snapshot,
    Terminated,
    Workload,
)
from fusioninfer.reconcile.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a role: its pods, and how many it should have."""

    index: int
    pods: tuple[Pod, ...]
    nodes: int
    is_updated: bool
    """All of its pods are of the present template."""

    @property
    def ready(self) -> bool:
        """All of its pods are there and ready."""
        return len(self.pods) == self.nodes and all(pod.ready for pod in self.pods)


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """One role as it is. Counts of copies, unless they say pods."""

    role: Role
    workload_name: str
    workload_resource: Resource
    """Of what should run the pods."""
    workload: Workload | None
    """What runs them now; of the other kind as long as that stands in the way."""
    copies: tuple[Copy, ...]
    """Without pods that end."""
    desired: int
    trouble: Trouble | None
    failure: LastFailure | None
    """The most recent crash that can be seen now."""
    recreated: Trouble | None
    """The crash for which pods end now, that were one copy with the container that crashed."""
    leader: Manifest
    worker: Manifest
    """The templates of its pods; all of them are leaders where a copy has one node."""
    warnings: tuple[str, ...] = ()
    serves_alone: bool = True
    """Its pods answer without those of another role."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(pod for copy in self.copies for pod in copy.pods)

    @property
    def ready(self) -> int:
        return sum(copy.ready for copy in self.copies)

    @property
    def ready_pods(self) -> int:
        return sum(pod.ready for pod in self.pods)

    @property
    def updated(self) -> int:
        return sum(copy.is_updated for copy in self.copies)

    @property
    def bound_pods(self) -> int:
        return sum(bool(pod.spec.nodeName) for pod in self.pods)

    @property
    def total_pods(self) -> int:
        return self.desired * self.role.nodes_per_replica

    @property
    def is_complete(self) -> bool:
        """Every copy is there, ready, and of the present template; none is surplus."""
        wanted = self.desired - min(self.role.rolling_update.partition, self.desired)
        return (
            self.workload is not None
            and self.workload.resource is self.workload_resource
            and self.workload.observed
            and len(self.copies) == self.ready == self.desired
            and self.updated >= wanted
        )

    @property
    def is_rolling(self) -> bool:
        """The present template has not reached every copy that it should reach."""
        if self.workload is None or not self.workload.observed:
            return True
        partition = self.role.rolling_update.partition
        return any(not copy.is_updated and copy.index >= partition for copy in self.copies)

    @property
    def is_loading(self) -> bool:
        """What is missing is on its way."""
        if len(self.pods) < self.total_pods:
            return True
        return self.trouble is not None and self.trouble.is_loading


@dataclass(frozen=True, slots=True)
class Facts:
    """One service as it is."""

    service: InferenceService
    roles: tuple[RoleFacts, ...]
    """The engine roles."""
    router: RoleFacts | None = None
    gang: PodGroup | None = None
    astray: Pod | None = None
    """One of the pods that name another gang than this service's, though they were made for it."""
    closed_hop: ClosedHop | None = None
    """What keeps requests from the router, if it is behind a gateway."""
    addresses: tuple[Address, ...] = ()
    """Where gateways let clients in."""

    @property
    def all_roles(self) -> tuple[RoleFacts, ...]:
        """The engine roles, and the router if there is one."""
        return self.roles if self.router is None else (*self.roles, self.router)

    @property
    def entry_roles(self) -> tuple[RoleFacts, ...]:
        """The roles whose pods are sent requests."""
        return tuple(facts for facts in self.roles if facts.role in self.service.entry_roles)

    @property
    def prefillers(self) -> tuple[RoleFacts, ...]:
        """The roles whose pods are sent prompts alone."""
        return tuple(facts for facts in self.roles if facts.role.component_type == "prefiller")


def facts_of(desired: Desired, snapshot: Snapshot) -> Facts:
    """The counts of every engine role, and the gang."""
    roles = tuple(replace(_role(objects, snapshot), serves_alone=objects.serves_alone) for objects in desired.roles)
    router = None if desired.router is None else _role(desired.router, snapshot)
    closed = None if desired.router is None else closed_hop(desired.router, snapshot)
    ways_in = addresses(desired.router, snapshot)
    return Facts(desired.service, roles, router, snapshot.gang, _astray(desired.service, roles), closed, ways_in)


def _astray(service: InferenceService, roles: Iterable[RoleFacts]) -> Pod | None:
    if (mark := mark_of(service)) is None:
        return None
    annotation, gang = mark
    made_for_it = (pod for facts in roles for copy in facts.copies if copy.is_updated for pod in copy.pods)
    return next((pod for pod in made_for_it if pod.metadata.annotations.get(annotation, gang) != gang), None)


def _role(objects: RoleObjects, snapshot: Snapshot) -> RoleFacts:
    workload = workload_of(objects, snapshot)
    everything = snapshot.pods_of(workload)
    staying = tuple(pod for pod in everything if not pod.ends)
    ending = tuple(pod for pod in everything if pod.ends)
    return RoleFacts(
        role=objects.role,
        workload_name=objects.workload["metadata"]["name"],
        workload_resource=CHILDREN[objects.kind],
        workload=workload,
        copies=() if workload is None else copies_of(workload, staying),
        desired=copies_wanted(objects.role, workload),
        trouble=trouble.worst(staying),
        failure=last_failure(everything),
        leader=objects.templates[0],
        worker=objects.templates[1],
        recreated=next((found for pod in ending if (found := trouble.ended_by_a_crash(pod))), None),
        warnings=objects.warnings,
    )


def workload_of(objects: RoleObjects, snapshot: Snapshot) -> Workload | None:
    """What runs the role's pods: of the kind that is wanted, else of the other one."""
    name, resource = objects.workload["metadata"]["name"], CHILDREN[objects.kind]
    others = (other for other in WORKLOADS if other is not resource)
    found = (snapshot.workload(name, kind.kind) for kind in (resource, *others))
    return next((workload for workload in found if workload is not None), None)


def copies_of(workload: Workload, pods: tuple[Pod, ...]) -> tuple[Copy, ...]:
    """`pods`, which are sorted so, copy by copy."""
    if isinstance(workload, Deployment):
        return tuple(Copy(index, (pod,), 1, workload.is_updated(pod)) for index, pod in enumerate(pods))
    return tuple(
        Copy(index, members, workload.nodes_of(members[0]), all(workload.is_updated(pod) for pod in members))
        for index, group in groupby(pods, workload.copy_of)
        if (members := tuple(group))
    )


def copies_wanted(role: Role, workload: Workload | None) -> int:
    """How many copies the role should have: as the user says, else as whoever scales the workload does."""
    if role.replicas is not None:
        return role.replicas
    return 1 if workload is None else workload.spec.replicas


def last_failure(pods: tuple[Pod, ...]) -> LastFailure | None:
    """The crash that happened last among the containers of `pods`."""
    crashes = [
        (end.finishedAt or "", pod, container, end)
        for pod in pods
        for container in (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
        if (end := trouble.crash_of(container, ends=pod.metadata.deletionTimestamp is not None)) is not None
    ]
    if not crashes:
        return None
    _, pod, container, end = max(crashes, key=lambda crash: crash[0])
    return _failure(pod, container, end)


def _failure(pod: Pod, container: ContainerStatus, end: Terminated) -> LastFailure:
    return LastFailure(
        time=end.finishedAt or "",
        pod=pod.metadata.name,
        container=container.name,
        reason=end.reason,
        message=end.message.strip()[-trouble.MAX_WORDS :],
        exitCode=end.exitCode,
        count=container.restartCount,
    )
