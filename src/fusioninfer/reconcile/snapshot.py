"""What was seen: one service, its children and its pods, read as far as the later stages need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fusioninfer.api import names, types
from fusioninfer.kube.objects import ObjectMeta, OwnedMeta
from fusioninfer.kube.requests import Resource

# ruff: noqa: N815 - the names are the wire's


@dataclass(frozen=True, slots=True)
class Key:
    """Which service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


SERVICES = Resource(types.GROUP, types.VERSION, types.KIND, types.PLURAL)
STATEFUL_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets")
ENTRIES = Resource("", "v1", "Service", "services")
PODS = Resource("", "v1", "Pod", "pods")
EVENTS = Resource("", "v1", "Event", "events")
CHILDREN = {(resource.api_version, resource.kind): resource for resource in (STATEFUL_SETS, ENTRIES)}
"""Every kind of child, by apiVersion and kind."""

_NOTHING = msgspec.Raw(b"null")


def _own(raw: msgspec.Raw) -> msgspec.Raw:
    """A Raw of its own: as decoded it is a view that keeps a whole page alive."""
    return msgspec.Raw(bytes(raw))


class Service(msgspec.Struct, frozen=True):
    """An InferenceService; spec and status stay undecoded until they are looked at."""

    metadata: ObjectMeta
    spec: msgspec.Raw = _NOTHING
    status: msgspec.Raw = _NOTHING

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "spec", _own(self.spec))
        msgspec.structs.force_setattr(self, "status", _own(self.status))

    @property
    def raw(self) -> dict[str, Any]:
        """The object as `parse` takes it."""
        metadata = self.metadata
        return {
            "metadata": {
                "name": metadata.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
                "generation": metadata.generation,
            },
            "spec": msgspec.json.decode(self.spec),
        }


class RollingUpdate(msgspec.Struct, frozen=True):
    """How a StatefulSet rolls."""

    partition: int = 0


class UpdateStrategy(msgspec.Struct, frozen=True):
    """How a StatefulSet rolls."""

    rollingUpdate: RollingUpdate | None = None


class WorkloadSpec(msgspec.Struct, frozen=True):
    """A StatefulSet's spec; the template stays undecoded until it is needed."""

    replicas: int = 1
    template: msgspec.Raw = _NOTHING
    updateStrategy: UpdateStrategy | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "template", _own(self.template))


class WorkloadStatus(msgspec.Struct, frozen=True):
    """A StatefulSet's status."""

    observedGeneration: int = 0
    updateRevision: str = ""
    replicas: int = 0


class Workload(msgspec.Struct, frozen=True):
    """What runs the pods of one role."""

    metadata: OwnedMeta
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    @property
    def partition(self) -> int:
        strategy = self.spec.updateStrategy
        return strategy.rollingUpdate.partition if strategy and strategy.rollingUpdate else 0

    @property
    def observed(self) -> bool:
        """The StatefulSet's controller has seen the present spec, so that its status speaks of it."""
        return self.status.observedGeneration >= self.metadata.generation > 0


class Entry(msgspec.Struct, frozen=True):
    """A Service of ours."""

    metadata: OwnedMeta


Child = Workload | Entry


class PodCondition(msgspec.Struct, frozen=True):
    """One condition of a pod."""

    type: str
    status: str = ""
    reason: str | None = None
    message: str | None = None
    lastTransitionTime: str | None = None


class Waiting(msgspec.Struct, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, frozen=True):
    """Since when a container runs."""

    startedAt: str | None = None


class Terminated(msgspec.Struct, frozen=True):
    """How a container ended."""

    exitCode: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    finishedAt: str | None = None


class ContainerState(msgspec.Struct, frozen=True):
    """One of the three, or none."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True):
    """What the kubelet says of one container."""

    name: str
    restartCount: int = 0
    ready: bool = False
    started: bool | None = None
    image: str = ""
    state: ContainerState = ContainerState()
    lastState: ContainerState = ContainerState()


class PodSpec(msgspec.Struct, frozen=True):
    """Where a pod was put."""

    nodeName: str = ""


class PodStatus(msgspec.Struct, frozen=True):
    """How a pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[PodCondition, ...] = ()
    containerStatuses: tuple[ContainerStatus, ...] = ()
    initContainerStatuses: tuple[ContainerStatus, ...] = ()


class Pod(msgspec.Struct, frozen=True):
    """A pod of ours."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, kind: str) -> PodCondition | None:
        return next((c for c in self.status.conditions if c.type == kind), None)

    @property
    def ready(self) -> bool:
        """Answering, and not about to end."""
        condition = self.condition("Ready")
        return self.metadata.deletionTimestamp is None and condition is not None and condition.status == "True"

    @property
    def revision(self) -> str:
        """Which template it was made from (apps/v1 ControllerRevisionHashLabelKey)."""
        return self.metadata.labels.get("controller-revision-hash", "")

    @property
    def index(self) -> int:
        """Its number among the copies: the digits at the end of its name; -1 if there are none."""
        digits = self.metadata.name.rpartition("-")[2]
        return int(digits) if digits.isdigit() else -1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One service and everything that was seen of it at one moment."""

    service: Service
    children: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    """By kind and name: everything with the service's label, whoever controls it."""
    pods: tuple[Pod, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.service.metadata.namespace, self.service.metadata.name)

    def workload(self, name: str) -> Workload | None:
        """The StatefulSet called `name`, if it is ours."""
        child = self.children.get(("StatefulSet", name))
        return child if isinstance(child, Workload) and self.owns(child) else None

    def pods_of(self, workload: Workload | None) -> tuple[Pod, ...]:
        """The pods that `workload` controls, in the order of their indexes."""
        if workload is None:
            return ()
        uid = workload.metadata.uid
        mine = (p for p in self.pods if p.metadata.controller is not None and p.metadata.controller.uid == uid)
        return tuple(sorted(mine, key=lambda pod: pod.index))

    def owns(self, child: Child) -> bool:
        """We control it; or nobody does, and it was applied by us for this service: orphaned, or restored."""
        controller = child.metadata.controller
        if controller is not None:
            return controller.uid == self.service.metadata.uid
        ours = child.metadata.labels.get(names.SERVICE_LABEL) == self.service.metadata.name
        return ours and any(entry.manager == names.MANAGER for entry in child.metadata.managedFields)
