"""What is so of each role, counted once from the snapshot; `status` judges by these values alone."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.api.service import InferenceService, Role
from fusioninfer.api.types import LastFailure
from fusioninfer.build.desired import Desired
from fusioninfer.reconcile import trouble
from fusioninfer.reconcile.snapshot import ContainerStatus, Pod, Snapshot, Terminated, Workload


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """One role as it is. Counts of copies, unless they say pods."""

    role: Role
    workload_name: str
    workload: Workload | None
    pods: tuple[Pod, ...]
    """Those that the workload controls, and that do not end."""
    desired: int
    ready: int
    updated: int
    bound_pods: int
    trouble: trouble.Trouble | None
    failure: LastFailure | None
    """The most recent crash that can be seen now."""

    @property
    def total_pods(self) -> int:
        return self.desired * self.role.nodes_per_replica

    @property
    def is_complete(self) -> bool:
        """Every copy is there, ready, and of the present template; none is surplus."""
        wanted = self.desired - min(self.role.rolling_update.partition, self.desired)
        return (
            self.workload is not None
            and self.workload.observed
            and len(self.pods) == self.ready == self.desired
            and self.updated >= wanted
        )

    @property
    def is_rolling(self) -> bool:
        """The present template has not reached every copy that it should reach."""
        if self.workload is None or not self.workload.observed:
            return True
        revision, partition = self.workload.status.updateRevision, self.role.rolling_update.partition
        return any(pod.revision != revision and pod.index >= partition for pod in self.pods)

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

    @property
    def entry_roles(self) -> tuple[RoleFacts, ...]:
        return tuple(facts for facts in self.roles if facts.role in self.service.entry_roles)


def facts_of(service: InferenceService, desired: Desired, snapshot: Snapshot) -> Facts:
    """The counts of every engine role."""
    return Facts(
        service,
        tuple(_role(objects.role, objects.workload["metadata"]["name"], snapshot) for objects in desired.roles),
    )


def _role(role: Role, workload_name: str, snapshot: Snapshot) -> RoleFacts:
    workload = snapshot.workload(workload_name)
    everything = snapshot.pods_of(workload)
    pods = tuple(pod for pod in everything if pod.metadata.deletionTimestamp is None)
    wanted = _desired(role, workload)
    return RoleFacts(
        role=role,
        workload_name=workload_name,
        workload=workload,
        pods=pods,
        desired=wanted,
        ready=sum(pod.ready for pod in pods),
        updated=_updated(workload, pods),
        bound_pods=sum(bool(pod.spec.nodeName) for pod in pods),
        trouble=trouble.worst(pods),
        failure=last_failure(pods),
    )


def _desired(role: Role, workload: Workload | None) -> int:
    if role.replicas is not None:
        return role.replicas
    return 1 if workload is None else workload.spec.replicas


def _updated(workload: Workload | None, pods: tuple[Pod, ...]) -> int:
    if workload is None or not workload.observed:
        return 0
    return sum(pod.revision == workload.status.updateRevision for pod in pods)


def last_failure(pods: tuple[Pod, ...]) -> LastFailure | None:
    """The crash that happened last among the containers of `pods`."""
    crashes = [
        (end.finishedAt or "", pod, container, end)
        for pod in pods
        for container in (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
        if (end := trouble.crash_of(container)) is not None
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
