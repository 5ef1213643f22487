"""What was seen: one service, its children and its pods, read as far as the later stages need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from fusioninfer.api import names, types
from fusioninfer.kube.objects import ObjectMeta, OwnedMeta
from fusioninfer.kube.requests import Resource
from fusioninfer.reconcile.gateway_api import GATEWAYS, HTTP_ROUTES, POOLS, Gateway, HTTPRoute, Pool

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
LEADER_WORKER_SETS = Resource("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
ENTRIES = Resource("", "v1", "Service", "services")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments")
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
DISRUPTION_BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
POD_GROUPS = Resource("scheduling.volcano.sh", "v1beta1", "PodGroup", "podgroups")
PODS = Resource("", "v1", "Pod", "pods")
EVENTS = Resource("", "v1", "Event", "events")
WORKLOADS = (STATEFUL_SETS, LEADER_WORKER_SETS)
"""What runs the pods of a role. Both kinds use the same names, so of one name there may be one kind at a time."""
PARTS_OF_A_ROUTER = (DEPLOYMENTS, SERVICE_ACCOUNTS, ROLE_BINDINGS, DISRUPTION_BUDGETS, POOLS)
WAYS_IN = (HTTP_ROUTES, GATEWAYS)
FOR_PROVIDERS = (
    Resource("networking.gke.io", "v1", "HealthCheckPolicy", "healthcheckpolicies"),
    Resource("networking.gke.io", "v1", "GCPBackendPolicy", "gcpbackendpolicies"),
    Resource("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
)
"""What only the gateways of GKE and Istio read."""
CHILDREN = {
    (resource.api_version, resource.kind): resource
    for resource in (*WORKLOADS, ENTRIES, POD_GROUPS, *PARTS_OF_A_ROUTER, *WAYS_IN, *FOR_PROVIDERS)
}
"""Every kind of child, by apiVersion and kind."""

LWS_NAME = "leaderworkerset.sigs.k8s.io/name"
LWS_GROUP = "leaderworkerset.sigs.k8s.io/group-index"
LWS_WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
"""Labels of an LWS's pods (LWS v0.9): its name, the copy, and the node of the copy, of which 0 is the leader."""
LWS_SIZE = "leaderworkerset.sigs.k8s.io/size"
"""Annotation of an LWS's pods: the nodes of their copy."""

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


class DeploymentSpec(msgspec.Struct, frozen=True):
    """A Deployment's spec; the template stays undecoded until it is needed."""

    replicas: int = 1
    template: msgspec.Raw = _NOTHING

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "template", _own(self.template))


class StatefulSetSpec(DeploymentSpec, frozen=True):
    """A StatefulSet's spec: the same, and how it rolls."""

    updateStrategy: UpdateStrategy | None = None


class LeaderWorkerSetSpec(msgspec.Struct, frozen=True):
    """A LeaderWorkerSet's spec; the templates stay undecoded until they are needed."""

    replicas: int = 1
    leaderWorkerTemplate: msgspec.Raw = _NOTHING

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "leaderWorkerTemplate", _own(self.leaderWorkerTemplate))


class WorkloadStatus(msgspec.Struct, frozen=True):
    """A workload's status; only a StatefulSet tells a revision."""

    observedGeneration: int = 0
    updateRevision: str = ""
    replicas: int = 0


class StatefulSet(msgspec.Struct, frozen=True):
    """What runs the pods of a role of one node per copy."""

    metadata: OwnedMeta
    spec: StatefulSetSpec = StatefulSetSpec()
    status: WorkloadStatus = WorkloadStatus()

    resource: ClassVar[Resource] = STATEFUL_SETS
    template_field: ClassVar[str] = "template"

    @property
    def template(self) -> msgspec.Raw:
        return self.spec.template

    @property
    def partition(self) -> int:
        strategy = self.spec.updateStrategy
        return strategy.rollingUpdate.partition if strategy and strategy.rollingUpdate else 0

    @property
    def observed(self) -> bool:
        """The StatefulSet's controller has seen the present spec, so that its status speaks of it."""
        return _observed(self)

    def runs(self, pod: Pod) -> bool:
        """`pod` is one of its own."""
        return pod.metadata.controller is not None and pod.metadata.controller.uid == self.metadata.uid

    def is_updated(self, pod: Pod) -> bool:
        """`pod` was made from the present template."""
        return self.observed and pod.revision == self.status.updateRevision

    def copy_of(self, pod: Pod) -> int:
        """Which copy `pod` is: the digits at the end of its name; -1 if there are none."""
        return pod.index

    def nodes_of(self, pod: Pod) -> int:
        """How many pods the copy of `pod` has."""
        return 1


class LeaderWorkerSet(msgspec.Struct, frozen=True):
    """What runs the pods of a role of several nodes per copy."""

    metadata: OwnedMeta
    spec: LeaderWorkerSetSpec = LeaderWorkerSetSpec()
    status: WorkloadStatus = WorkloadStatus()

    resource: ClassVar[Resource] = LEADER_WORKER_SETS
    template_field: ClassVar[str] = "leaderWorkerTemplate"

    @property
    def template(self) -> msgspec.Raw:
        return self.spec.leaderWorkerTemplate

    @property
    def observed(self) -> bool:
        """The LWS controller has seen the present spec."""
        return _observed(self)

    def runs(self, pod: Pod) -> bool:
        """`pod` is one of its own. By label: leaders and workers are controlled by sets that LWS makes between."""
        return pod.metadata.labels.get(LWS_NAME) == self.metadata.name

    def is_updated(self, pod: Pod) -> bool:
        """`pod` was made from the present templates, by the mark that `build` puts on both."""
        return _has_its_mark(self, pod)

    def copy_of(self, pod: Pod) -> int:
        """Which copy `pod` belongs to; -1 if LWS's webhook has not labelled it."""
        return _number(pod.metadata.labels.get(LWS_GROUP), -1)

    def nodes_of(self, pod: Pod) -> int:
        """How many pods the copy of `pod` has, itself among them."""
        return _number(pod.metadata.annotations.get(LWS_SIZE), 1)


def _number(digits: str | None, otherwise: int) -> int:
    return int(digits) if digits is not None and digits.isdecimal() else otherwise


def _has_its_mark(workload: LeaderWorkerSet | Deployment, pod: Pod) -> bool:
    mark = pod.metadata.annotations.get(names.TEMPLATE)
    return workload.observed and mark is not None and mark == workload.metadata.annotations.get(names.TEMPLATE)


def _observed(workload: Workload) -> bool:
    return workload.status.observedGeneration >= workload.metadata.generation > 0


class Deployment(msgspec.Struct, frozen=True):
    """What runs the router's pods."""

    metadata: OwnedMeta
    spec: DeploymentSpec = DeploymentSpec()
    status: WorkloadStatus = WorkloadStatus()

    resource: ClassVar[Resource] = DEPLOYMENTS
    template_field: ClassVar[str] = "template"

    @property
    def template(self) -> msgspec.Raw:
        return self.spec.template

    @property
    def observed(self) -> bool:
        """The Deployment's controller has seen the present spec."""
        return _observed(self)

    def runs(self, pod: Pod) -> bool:
        """`pod` is one of its own. By label: pods are controlled by ReplicaSets between."""
        return all(
            pod.metadata.labels.get(label) == self.metadata.labels.get(label)
            for label in (names.ROLE_LABEL, names.COMPONENT_TYPE_LABEL)
        )

    def is_updated(self, pod: Pod) -> bool:
        """`pod` was made from the present template, by the mark that `build` puts on both."""
        return _has_its_mark(self, pod)

    def copy_of(self, pod: Pod) -> int:
        """Which copy `pod` is: its pods have no numbers."""
        return -1

    def nodes_of(self, pod: Pod) -> int:
        """How many pods the copy of `pod` has."""
        return 1


class EntrySpec(msgspec.Struct, frozen=True):
    """Where a Service leads."""

    selector: dict[str, str] = {}


class Entry(msgspec.Struct, frozen=True):
    """A Service of ours."""

    metadata: OwnedMeta
    spec: EntrySpec = EntrySpec()


class Owned(msgspec.Struct, frozen=True):
    """A child of which we read no more than that it is there and ours."""

    metadata: OwnedMeta


class SubGroup(msgspec.Struct, frozen=True):
    """The copies of one role in a gang."""

    name: str
    minSubGroups: int = 0
    subGroupSize: int = 1


class PodGroupSpec(msgspec.Struct, frozen=True):
    """What a gang asks for."""

    minMember: int = 0
    queue: str = ""
    subGroupPolicy: tuple[SubGroup, ...] = ()


class PodGroupCondition(msgspec.Struct, frozen=True):
    """What once was so of a gang: Volcano never takes a condition back (v1.14.1). Times and words are left out."""

    type: str


class PodGroupStatus(msgspec.Struct, frozen=True):
    """Where a gang stands."""

    phase: str = ""
    conditions: tuple[PodGroupCondition, ...] = ()


class PodGroup(msgspec.Struct, frozen=True):
    """A gang, as Volcano knows it."""

    metadata: OwnedMeta
    spec: PodGroupSpec = PodGroupSpec()
    status: PodGroupStatus = PodGroupStatus()

    @property
    def has_started(self) -> bool:
        """Once there were nodes for all that it asked for."""
        return any(condition.type == "Scheduled" for condition in self.status.conditions)


Workload = StatefulSet | LeaderWorkerSet | Deployment
Child = Workload | PodGroup | Entry | HTTPRoute | Gateway | Pool | Owned


READ_AS: Mapping[Resource, type[Child]] = {
    STATEFUL_SETS: StatefulSet,
    LEADER_WORKER_SETS: LeaderWorkerSet,
    DEPLOYMENTS: Deployment,
    POD_GROUPS: PodGroup,
    ENTRIES: Entry,
    HTTP_ROUTES: HTTPRoute,
    GATEWAYS: Gateway,
    POOLS: Pool,
}
"""What each kind of child is read as; the others as Owned."""


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
        return not self.ends and condition is not None and condition.status == "True"

    @property
    def ends(self) -> bool:
        """It was told to end."""
        return self.metadata.deletionTimestamp is not None

    def runs(self, container: str) -> bool:
        """It has a container of that name."""
        return any(status.name == container for status in self.status.containerStatuses)

    @property
    def revision(self) -> str:
        """Which template it was made from (apps/v1 ControllerRevisionHashLabelKey)."""
        return self.metadata.labels.get("controller-revision-hash", "")

    @property
    def index(self) -> int:
        """The digits at the end of its name; -1 if there are none."""
        return _number(self.metadata.name.rpartition("-")[2], -1)

    @property
    def node(self) -> int:
        """Which node of its copy it is; 0: the leader, or the only one."""
        return _number(self.metadata.labels.get(LWS_WORKER), 0)


def is_news(old: Child | Pod, new: Child | Pod) -> bool:
    """Something has changed from `old` to `new` that a turn could make a difference of.

    Volcano writes onto waiting pods and onto their gang in every round, often the same with another node or time;
    gateways' controllers write the same conditions with other times.
    """
    match old, new:
        case Pod(), Pod():
            return (_lasting(old.metadata), old.spec, _lasting_status(old)) != (
                _lasting(new.metadata),
                new.spec,
                _lasting_status(new),
            )
        case PodGroup(), PodGroup():
            return (_lasting(old.metadata), _held(old), old.spec, old.status) != (
                _lasting(new.metadata),
                _held(new),
                new.spec,
                new.status,
            )
        case HTTPRoute() | Gateway() | Pool(), HTTPRoute() | Gateway() | Pool():
            return (_lasting(old.metadata), _held(old), _told(old)) != (_lasting(new.metadata), _held(new), _told(new))
    return True


def _told(live: HTTPRoute | Gateway | Pool) -> tuple[object, ...]:
    return live.metadata.generation, live.status


def _lasting(metadata: ObjectMeta) -> tuple[object, ...]:
    """What does not change with every write. Of a kind without a status subresource even the generation does."""
    return (
        metadata.uid,
        metadata.deletionTimestamp,
        metadata.labels,
        metadata.annotations,
        metadata.ownerReferences,
    )


def _held(group: PodGroup | HTTPRoute | Gateway | Pool) -> list[tuple[str, bytes]]:
    return [(entry.manager, bytes(entry.fieldsV1)) for entry in group.metadata.managedFields]


def _lasting_status(pod: Pod) -> tuple[PodStatus, tuple[PodCondition, ...]]:
    """Without the node that a pod could have but for its gang."""
    conditions = tuple(
        msgspec.structs.replace(condition, message=None) if condition.reason == FITS else condition
        for condition in pod.status.conditions
    )
    return msgspec.structs.replace(pod.status, conditions=()), conditions


FITS = "Schedulable"
"""Volcano's reason on a pod that fits and waits for its gang alone (v1.14.1)."""
ABOUT_THE_GANG = "pod group is"
"""How Volcano begins what it says on a pod for want of anything about nodes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One service and everything that was seen of it at one moment."""

    service: Service
    children: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    """By kind and name: everything with the service's label, whoever controls it."""
    pods: tuple[Pod, ...] = ()
    unserved: frozenset[str] = frozenset()
    """Kinds that are not installed in this cluster."""
    rivals: tuple[HTTPRoute, ...] = ()
    """Routes of others that claim requests which the service's own route claims too."""

    @property
    def key(self) -> Key:
        return Key(self.service.metadata.namespace, self.service.metadata.name)

    def workload(self, name: str, kind: str) -> Workload | None:
        """The workload of that name and kind, if it is ours."""
        child = self.children.get((kind, name))
        return child if isinstance(child, Workload) and self.owns(child) else None

    @property
    def gang(self) -> PodGroup | None:
        """The gang of the service, if it is ours."""
        child = self.children.get((POD_GROUPS.kind, names.gang(self.key.name)))
        return child if isinstance(child, PodGroup) and self.owns(child) else None

    def pods_of(self, workload: Workload | None) -> tuple[Pod, ...]:
        """The pods that `workload` runs: copy by copy, each beginning with its leader."""
        if workload is None:
            return ()
        mine = (pod for pod in self.pods if workload.runs(pod))
        return tuple(sorted(mine, key=lambda pod: (workload.copy_of(pod), pod.node)))

    def owns(self, child: Child) -> bool:
        """We control it; or nobody does, and it was applied by us for this service: orphaned, or restored."""
        controller = child.metadata.controller
        if controller is not None:
            return controller.uid == self.service.metadata.uid
        ours = child.metadata.labels.get(names.SERVICE_LABEL) == self.service.metadata.name
        return ours and any(entry.manager == names.MANAGER for entry in child.metadata.managedFields)
