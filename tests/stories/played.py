"""A cluster that is played: an API server in memory, and actors for its users, workload controllers and nodes.

The LeaderWorkerSet controller here makes and labels the pods of each copy, and replaces copies one at a time; it
makes no StatefulSets of its own, and never recreates a copy. The StatefulSet controller here knows Parallel pods,
partition, and one replacement at a time; every pod but Volcano's gets a node at once, and is ready READY_SECONDS after
it has one. What the real ones do beyond that the tests on the real cluster show.

Volcano here knows one queue, which is open and takes every group, and room that is a number: GPUs, of which a pod that
asks for none takes one. It knows no nodes, no priorities and preemption, no topology, no gates; a pod that names no
group starts alone. It places a gang as the real one does (v1.14.1: gang plugin, allocate action): whole or not at all,
then copy by copy. It writes onto what waits in every session, and names another node each time.
"""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fusioninfer.api import hashes, names, types
from fusioninfer.api.crd import service_schema
from fusioninfer.api.schema import kubernetes_definitions
from fusioninfer.daemon.queue import Queue, work
from fusioninfer.daemon.watched import watched
from fusioninfer.kube import errors, requests
from fusioninfer.kube.memory import MERGE_PATCH, MemoryServer, Served
from fusioninfer.kube.requests import Kube, Manifest, Request, Resource
from fusioninfer.reconcile.gateway_api import GATEWAYS, HTTP_ROUTES, POOLS
from fusioninfer.reconcile.loop import Incomplete
from fusioninfer.reconcile.snapshot import (
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    ENTRIES,
    EVENTS,
    FOR_PROVIDERS,
    LEADER_WORKER_SETS,
    LWS_GROUP,
    LWS_NAME,
    LWS_SIZE,
    LWS_WORKER,
    POD_GROUPS,
    PODS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Key,
)
from tests import virtual

READY_SECONDS = 1.0
STEP_SECONDS = 0.25
SESSION_SECONDS = 1.0
"""How often Volcano looks."""
NAMESPACE = "default"


def a_server(*uids: str) -> MemoryServer:
    """An API server with our kind and the kinds of our children; `uids` are those of the first objects."""
    given = iter(uids)
    return MemoryServer(_served(), uids=lambda: next(given, None) or str(uuid.uuid4()))


@functools.cache
def _served() -> tuple[Served, ...]:
    """The same for every server: to compile their schemas takes longer than most stories."""
    definitions = kubernetes_definitions()
    builtin = [
        Served(resource, definitions[resource.kind], definitions=definitions)
        for resource in (STATEFUL_SETS, ENTRIES, PODS, EVENTS)
    ]
    lws = Served(LEADER_WORKER_SETS, custom=True)
    volcano = Served(POD_GROUPS, subresources=(), custom=True)  # to its CRD the status is a field like any other
    return (Served(SERVICES, service_schema(), custom=True), lws, volcano, *builtin, *OF_ROUTERS)


class User:
    """Somebody with kubectl."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube

    async def apply(self, name: str, *roles: Manifest, **spec: Any) -> None:
        """`kubectl apply --server-side` of a service."""
        manifest = {
            "apiVersion": types.API_VERSION,
            "kind": types.KIND,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"roles": list(roles), **spec},
        }
        await self.kube.send(requests.apply(SERVICES, manifest, manager="kubectl"))

    async def delete(self, name: str) -> None:
        await self.kube.send(Request("DELETE", SERVICES.path(NAMESPACE, name)))

    async def objects(self, resource: Resource) -> list[Manifest]:
        body = msgspec.json.decode(await self.kube.send(requests.list_page(resource, NAMESPACE)))
        items: list[Manifest] = body["items"]
        return items

    async def version(self) -> str:
        """Of everything: the same as before if nothing was written meanwhile."""
        page = msgspec.json.decode(await self.kube.send(requests.list_page(POD_GROUPS, NAMESPACE)))
        return str(page["metadata"]["resourceVersion"])


class Nodes:
    """The StatefulSet controller and the kubelets."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._user = User(kube)
        self._ready_at: dict[str, float] = {}
        self._at_rest = ""
        """The version at which there was nothing left to do."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            await self.step()

    async def step(self) -> None:
        version = await self._user.version()
        if version == self._at_rest:
            return
        pods = {pod["metadata"]["name"]: pod for pod in await self._user.objects(PODS)}
        for resource, control in ((STATEFUL_SETS, self._control), (LEADER_WORKER_SETS, self._control_groups)):
            for live in await self._user.objects(resource):
                if not live["metadata"].get("deletionTimestamp"):
                    await control(live, _pods_of(live, pods))
        made = await self._user.objects(PODS)
        for pod in made:
            await self._start(pod)
        if await self._user.version() == version and all(_is_ready(pod) or not _has_node(pod) for pod in made):
            self._at_rest = version

    async def _control(self, live: Manifest, pods: dict[str, Manifest]) -> None:
        name, spec = live["metadata"]["name"], live["spec"]
        replicas, revision = spec.get("replicas", 1), hashes.of(spec["template"])
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "updateRevision": revision,
            "replicas": replicas,
        }
        if live.get("status") != status:
            await self._patch(STATEFUL_SETS, name, {"status": status}, "status")
        mine = {index: pods.get(f"{name}-{index}") for index in range(replicas)}
        for index, pod in mine.items():
            if pod is None:
                await self._create(live, index, revision)
        for pod_name in [n for n in pods if n.startswith(f"{name}-") and int(n.rpartition("-")[2]) >= replicas]:
            await self.kube.send(Request("DELETE", PODS.path(NAMESPACE, pod_name)))
        await self._roll(mine, spec["updateStrategy"]["rollingUpdate"].get("partition", 0), revision)

    async def _control_groups(self, live: Manifest, pods: dict[str, Manifest]) -> None:
        name, spec = live["metadata"]["name"], live["spec"]
        template, replicas = spec["leaderWorkerTemplate"], spec.get("replicas", 1)
        status = {"observedGeneration": live["metadata"]["generation"], "replicas": replicas}
        if live.get("status") != status:
            await self._patch(LEADER_WORKER_SETS, name, {"status": status}, "status")
        begun = {
            pod["metadata"]["labels"][LWS_GROUP]: int(pod["metadata"]["annotations"][LWS_SIZE]) for pod in pods.values()
        }
        sizes = [begun.get(str(group), template["size"]) for group in range(replicas)]
        wanted = {
            f"{name}-{group}" + (f"-{node}" if node else ""): (group, node)
            for group, size in enumerate(sizes)
            for node in range(size)
        }
        for pod_name, (group, node) in wanted.items():
            if pod_name not in pods:
                part = template["workerTemplate" if node else "leaderTemplate"]
                labels = {LWS_NAME: name, LWS_GROUP: str(group), LWS_WORKER: str(node), POD_INDEX: str(node or group)}
                await self._make(live, part, pod_name, labels, {LWS_SIZE: str(sizes[group])})
        for pod_name in pods.keys() - wanted.keys():
            await self.kube.send(Request("DELETE", PODS.path(NAMESPACE, pod_name)))
        mark = template["leaderTemplate"]["metadata"]["annotations"][names.TEMPLATE]
        old = [pod for pod in pods.values() if pod["metadata"]["annotations"].get(names.TEMPLATE) != mark]
        if old and all(_is_ready(pod) for pod in pods.values()):
            group = old[-1]["metadata"]["labels"][LWS_GROUP]
            for pod in pods.values():
                if pod["metadata"]["labels"][LWS_GROUP] == group:
                    await self.kube.send(Request("DELETE", PODS.path(NAMESPACE, pod["metadata"]["name"])))

    async def _roll(self, mine: dict[int, Manifest | None], partition: int, revision: str) -> None:
        """Replace the highest old pod, if all others are ready."""
        if not all(pod is not None and _is_ready(pod) for pod in mine.values()):
            return
        for index in sorted(mine, reverse=True):
            pod = mine[index]
            if pod is not None and index >= partition and pod["metadata"]["labels"][REVISION] != revision:
                await self.kube.send(Request("DELETE", PODS.path(NAMESPACE, pod["metadata"]["name"])))
                return

    async def _create(self, live: Manifest, index: int, revision: str) -> None:
        name = f"{live['metadata']['name']}-{index}"
        await self._make(live, live["spec"]["template"], name, {REVISION: revision, POD_INDEX: str(index)}, {})

    async def _make(
        self, live: Manifest, template: Manifest, name: str, labels: Manifest, annotations: Manifest
    ) -> None:  # fmt: skip
        owner = {key: live[key] for key in ("apiVersion", "kind")}
        owner |= {key: live["metadata"][key] for key in ("name", "uid")}
        written = template["metadata"]
        scheduler = template["spec"].get("schedulerName")
        placed = {"schedulerName": VOLCANO} if scheduler == VOLCANO else {"nodeName": "played"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {**written["labels"], **labels},
                "annotations": {**written.get("annotations", {}), **annotations},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": {"containers": template["spec"]["containers"], **placed},
        }
        body = msgspec.json.encode(pod)
        await self.kube.send(Request("POST", PODS.path(NAMESPACE), body=body, content_type=requests.JSON))

    async def _start(self, pod: Manifest) -> None:
        if not _has_node(pod):
            return
        uid = pod["metadata"]["uid"]
        due = self._ready_at.setdefault(uid, virtual.clock() + READY_SECONDS)
        if virtual.clock() >= due and not _is_ready(pod):
            status = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": one["name"], "ready": True} for one in pod["spec"]["containers"]],
            }
            await self._patch(PODS, pod["metadata"]["name"], {"status": status}, "status")

    async def _patch(self, resource: Resource, name: str, change: Manifest, subresource: str = "") -> None:
        await _merge(self.kube, "nodes", resource, name, change, subresource)


REVISION = "controller-revision-hash"
POD_INDEX = "apps.kubernetes.io/pod-index"


async def _merge(
    kube: Kube, manager: str, resource: Resource, name: str, change: Manifest, subresource: str = ""
) -> None:  # fmt: skip
    path = resource.path(NAMESPACE, name, subresource)
    await kube.send(Request("PATCH", path, {"fieldManager": manager}, msgspec.json.encode(change), MERGE_PATCH))


def _pods_of(live: Manifest, pods: dict[str, Manifest]) -> dict[str, Manifest]:
    """Those that `live` controls."""
    uid = live["metadata"]["uid"]
    return {name: pod for name, pod in pods.items() if pod["metadata"]["ownerReferences"][0]["uid"] == uid}


def _has_node(pod: Manifest) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _is_ready(pod: Manifest) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


# --- Volcano ------------------------------------------------------------------------------------------------------

VOLCANO = "volcano"
GROUP_NAME = "scheduling.k8s.io/group-name"
GPU = "nvidia.com/gpu"


@dataclass(slots=True)
class Task:
    """A pod as Volcano sees it: its labels, how much it takes, whether it has a node."""

    name: str
    labels: dict[str, str]
    gpus: int = 1
    on_node: bool = False


Subgroup = tuple[str, str]
"""A policy's name, and the value by which it tells its subgroups apart; empty for pods of no policy."""


@dataclass(slots=True)
class Placing:
    """One look at the gang with the PodGroup `spec`: places its `tasks`, whole or not at all, then copy by copy."""

    spec: Manifest
    tasks: list[Task]
    room: int
    fitting: set[str] = field(default_factory=set)
    """Tasks that would have had room, and got none since the gang lacks others."""
    _subgroups: dict[Subgroup, list[Task]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for task in self.tasks:
            self._subgroups.setdefault(self._subgroup_of(task), []).append(task)

    @property
    def is_ready(self) -> bool:
        """Enough tasks have a node, and enough copies of each role."""
        return self._enough_tasks() and not self._lacking(filter(self._is_whole, self._subgroups))

    def place(self) -> None:
        if len(self.tasks) >= self.spec["minMember"] and not self._lacking(self._subgroups):
            while self._step():
                pass

    def _step(self) -> bool:
        """Place one subgroup after the other until the gang is ready; nothing if it cannot be."""
        lacking = self._lacking(filter(self._is_whole, self._subgroups))
        placed: list[Task] = []
        for subgroup in sorted(self._subgroups, key=lambda one: (self._is_whole(one), one[0] not in lacking, one)):
            waiting = [task for task in self._subgroups[subgroup] if not task.on_node]
            on_nodes = len(self._subgroups[subgroup]) - len(waiting)
            next_ones = waiting[: max(1, self._size(subgroup) - on_nodes)]
            is_enough = on_nodes + len(next_ones) >= self._size(subgroup)
            if next_ones and is_enough and sum(task.gpus for task in [*placed, *next_ones]) <= self.room:
                placed += next_ones
                for task in next_ones:
                    task.on_node = True
                if self.is_ready:
                    self.room -= sum(task.gpus for task in placed)
                    return True
        for task in placed:
            task.on_node = False
        self.fitting = {task.name for task in placed}
        return False

    def _enough_tasks(self) -> bool:
        return sum(task.on_node for task in self.tasks) >= int(self.spec["minMember"])

    def _subgroup_of(self, task: Task) -> Subgroup:
        for policy in self.spec["subGroupPolicy"]:
            (key,) = policy["matchLabelKeys"]
            if policy["labelSelector"]["matchLabels"].items() <= task.labels.items() and key in task.labels:
                return policy["name"], task.labels[key]
        return "", ""

    def _size(self, subgroup: Subgroup) -> int:
        return next((int(p["subGroupSize"]) for p in self.spec["subGroupPolicy"] if p["name"] == subgroup[0]), 1)

    def _is_whole(self, subgroup: Subgroup) -> bool:
        return sum(task.on_node for task in self._subgroups[subgroup]) >= self._size(subgroup)

    def _lacking(self, subgroups: Iterable[Subgroup]) -> set[str]:
        """Policies of which there are too few `subgroups`."""
        counts = Counter(name for name, _ in subgroups)
        return {
            policy["name"] for policy in self.spec["subGroupPolicy"] if counts[policy["name"]] < policy["minSubGroups"]
        }


class Volcano:
    """The scheduler of pods that name it."""

    def __init__(self, kube: Kube, room: int) -> None:
        self.room = room
        """GPUs in all."""
        self.writes = 0
        self._kube = kube
        self._user = User(kube)
        self._sessions = 0
        self._at_rest = ""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SESSION_SECONDS)
            await self.session()

    async def session(self) -> None:
        self._sessions += 1
        version = await self._user.version()
        if version == self._at_rest:
            return
        pods = [pod for pod in await self._user.objects(PODS) if pod["spec"].get("schedulerName") == VOLCANO]
        free = self.room - sum(_gpus(pod) for pod in pods if _has_node(pod))
        for pod in pods:
            if not _has_node(pod) and GROUP_NAME not in _annotations(pod) and _gpus(pod) <= free:
                free -= _gpus(pod)
                await self._bind(pod["metadata"]["name"])
        for group in await self._user.objects(POD_GROUPS):
            mine = [pod for pod in pods if _annotations(pod).get(GROUP_NAME) == group["metadata"]["name"]]
            if mine:
                free = await self._look_at(group, mine, free)
        if await self._user.version() == version and all(map(_has_node, pods)):
            self._at_rest = version

    async def _look_at(self, group: Manifest, pods: list[Manifest], free: int) -> int:
        """One gang; returns the room that is left."""
        tasks = [Task(pod["metadata"]["name"], pod["metadata"]["labels"], _gpus(pod), _has_node(pod)) for pod in pods]
        waiting = [task for task in tasks if not task.on_node]
        placing = Placing(group["spec"], tasks, free)
        phase = group.get("status", {}).get("phase", "")
        if phase not in ("", "Pending"):  # else the queue takes it in now, and it is placed in the next session
            placing.place()
        is_short = sum(task.on_node for task in tasks) < group["spec"]["minMember"]
        any_runs = any(pod.get("status", {}).get("phase") == "Running" for pod in pods)
        for task in waiting:
            await (self._bind(task.name) if task.on_node else self._tell(task.name, placing))
        short = _words(tasks, placing) if is_short else ""
        await self._write(group, _phase(phase, is_short=is_short, any_runs=any_runs), short)
        return placing.room

    async def _bind(self, pod: str) -> None:
        await _merge(self._kube, VOLCANO, PODS, pod, {"spec": {"nodeName": "played"}})

    async def _tell(self, pod: str, placing: Placing) -> None:
        fits = pod in placing.fitting
        if fits:
            node = f"played-{self._sessions}"
            words = f"Pod {NAMESPACE}/{pod} can possibly be assigned to {node}, once minAvailable is satisfied"
        elif len(placing.tasks) < placing.spec["minMember"]:
            words = _words(placing.tasks, placing)
        else:
            words = f"0/1 nodes are unavailable: 1 Insufficient {GPU}."
        reason = "Schedulable" if fits else "Unschedulable"
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": words}
        self.writes += 1
        status = {"phase": "Pending", "conditions": [condition]}
        await _merge(self._kube, VOLCANO, PODS, pod, {"status": status}, "status")

    async def _write(self, group: Manifest, phase: str, short: str) -> None:
        """The group's status, by an update of the whole object; what waits is told again in every session."""
        there = {condition["type"]: condition for condition in group.get("status", {}).get("conditions", [])}
        kind = "Unschedulable" if short else "Scheduled"
        reason = "NotEnoughResources" if short else "tasks in gang are ready to be scheduled"
        said = {"type": kind, "status": "True", "reason": reason, "message": short}
        is_said = {key: value for key, value in there.get(kind, {}).items() if key in said} == said
        if not short and is_said and group["status"].get("phase") == phase:
            return
        conditions = {**there, kind: {**said, "transitionID": str(self._sessions)}}
        self.writes += 1
        body = {**group, "status": {"phase": phase, "conditions": list(conditions.values())}}
        path = POD_GROUPS.path(NAMESPACE, group["metadata"]["name"])
        with suppress(errors.Conflict, errors.NotFound):  # it has changed meanwhile: next time
            await self._kube.send(
                Request("PUT", path, {"fieldManager": VOLCANO}, msgspec.json.encode(body), requests.JSON)
            )


def _phase(before: str, *, is_short: bool, any_runs: bool) -> str:
    """Of a gang that was looked at (v1.14.1 getPodGroupPhase)."""
    if not is_short:
        return "Running"
    if any_runs:
        return "Unknown"
    return "Inqueue" if before in ("Pending", "Inqueue") else "Pending"


def _annotations(pod: Manifest) -> Manifest:
    annotations: Manifest = pod["metadata"].get("annotations", {})
    return annotations


def _gpus(pod: Manifest) -> int:
    limits = [container.get("resources", {}).get("limits", {}) for container in pod["spec"]["containers"]]
    return sum(int(limit.get(GPU, 0)) for limit in limits) or 1


def _words(tasks: list[Task], placing: Placing) -> str:
    """What Volcano says of a gang that is short."""
    pending = [task for task in tasks if not task.on_node]
    fit = len(placing.fitting)
    kinds = f"{fit} Schedulable, " * bool(fit) + f"{len(pending) - fit} Unschedulable"
    counts = f"{len(pending)} Pending, {placing.spec['minMember']} minAvailable; Pending: {kinds}"
    return f"{len(pending)}/{len(tasks)} tasks in gang unschedulable: pod group is not ready, {counts}"


@dataclass(slots=True)
class Lacking:
    """An API server that does not know one kind, until it is installed."""

    kube: Kube
    resource: Resource
    is_installed: bool = False

    async def send(self, request: Request) -> bytes:
        self._look(request)
        return await self.kube.send(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        self._look(request)
        return self.kube.stream(request)

    def _look(self, request: Request) -> None:
        if not self.is_installed and request.path.startswith(f"/apis/{self.resource.group}/"):
            raise errors.NotFound(errors.Status(code=404, message="the server could not find the requested resource"))


# --- the operator -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The operator's process is no more."""


@asynccontextmanager
async def an_operator(kube: Kube, on_killed: Callable[[], None] = lambda: None) -> AsyncIterator[list[Exception]]:
    """An operator of its own memory that works while the block does; the list holds errors that are faults of ours."""
    queue: Queue[Key] = Queue(monotonic=virtual.clock, jitter=lambda: 0.5)
    seen = watched(kube, queue, "")
    faults: list[Exception] = []

    def told(key: Key, seconds: float, error: Exception | None) -> None:
        if error is not None and not isinstance(error, errors.KubeError | Incomplete):
            faults.append(error)

    async def turn(key: Key) -> float | None:
        try:
            return await seen.reconcile(key)
        except Killed:
            on_killed()
            await asyncio.get_running_loop().create_future()  # nothing of this process goes on
            raise

    following = [asyncio.create_task(cache.run()) for cache in seen.caches.values()]
    for cache in seen.caches.values():
        await cache.synced.wait()
    working = asyncio.create_task(work(queue, turn, workers=4, told=told))
    try:
        yield faults
    finally:
        for task in (working, *following):
            task.cancel()
        await asyncio.gather(working, *following, return_exceptions=True)


def shown(live: Manifest) -> Manifest:
    """An object without what differs from run to run: uids, versions, times, who wrote what when."""
    metadata = {k: v for k, v in live["metadata"].items() if k in ("name", "labels", "annotations", "generation")}
    owners = [owner["name"] for owner in live["metadata"].get("ownerReferences", [])]
    rest = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    status = _timeless(live.get("status", {}))
    if live["kind"] == POD_GROUPS.kind:  # every status write counts, and of conditions none is ever taken back
        del metadata["generation"]
        status.pop("conditions", None)
    return {**rest, "metadata": {**metadata, "owners": owners}, "status": status}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ("lastTransitionTime", "lastUpdateTime")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


# --- routers ------------------------------------------------------------------------------------------------------

OF_ROUTERS = (
    Served(DEPLOYMENTS),
    Served(POOLS, custom=True),
    Served(HTTP_ROUTES, custom=True),
    Served(GATEWAYS, custom=True),
    *(Served(resource, custom=True) for resource in FOR_PROVIDERS),
    Served(DISRUPTION_BUDGETS),
    Served(SERVICE_ACCOUNTS, subresources=(), counts_generations=False),
    Served(ROLE_BINDINGS, subresources=(), counts_generations=False),
)
"""The kinds of a router's parts, without their schemas: their lists are held as one."""


class Deployments:
    """The Deployment controller, with maxSurge 1 and maxUnavailable 0.

    Its pods have no ReplicaSets between; `Nodes` makes them ready.
    """

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._user = User(kube)
        self._at_rest = ""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            await self.step()

    async def step(self) -> None:
        version = await self._user.version()
        if version == self._at_rest:
            return
        pods = {pod["metadata"]["name"]: pod for pod in await self._user.objects(PODS)}
        for live in await self._user.objects(DEPLOYMENTS):
            if not live["metadata"].get("deletionTimestamp"):
                await self._control(live, _pods_of(live, pods))
        if await self._user.version() == version:
            self._at_rest = version

    async def _control(self, live: Manifest, pods: dict[str, Manifest]) -> None:
        name, replicas = live["metadata"]["name"], live["spec"].get("replicas", 1)
        mark = live["spec"]["template"]["metadata"]["annotations"][names.TEMPLATE]
        status = {"observedGeneration": live["metadata"]["generation"], "replicas": len(pods)}
        if live.get("status") != status:
            path = DEPLOYMENTS.path(NAMESPACE, name, "status")
            body = msgspec.json.encode({"status": status})
            await self.kube.send(Request("PATCH", path, {"fieldManager": "deployments"}, body, MERGE_PATCH))
        wanted = [f"{name}-{mark}-{number}" for number in range(replicas)]
        missing = [pod for pod in wanted if pod not in pods]
        for pod in missing[: max(0, replicas + 1 - len(pods))]:
            await Nodes(self.kube)._make(live, live["spec"]["template"], pod, {}, {})
        ready = sum(map(_is_ready, pods.values()))
        for pod in sorted(pods.keys() - set(wanted), reverse=True):
            if not _is_ready(pods[pod]) or ready > replicas:
                ready -= _is_ready(pods[pod])
                await self.kube.send(Request("DELETE", PODS.path(NAMESPACE, pod)))


# --- gateways -----------------------------------------------------------------------------------------------------

ACCEPTED_SECONDS = 1.0
REWRITTEN_SECONDS = 1.0


class Gateways:
    """The controller of every gateway that there is, of the user's own and of ours.

    It takes on each Gateway, route and pool ACCEPTED_SECONDS after it has first seen it, whatever they say, and writes
    the same again every REWRITTEN_SECONDS with another time, as real ones do when they resync. It leads no request
    anywhere, knows no listeners, hostnames and grants, and never refuses. A pool is told of by the gateways of the
    routes that lead to it, and of none when there is none left.
    """

    def __init__(self, kube: Kube) -> None:
        self.writes = 0
        self._kube = kube
        self._user = User(kube)
        self._due: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            with suppress(errors.NotFound):  # its kinds are not installed, or something is gone meanwhile
                await self.step()

    async def step(self) -> None:
        for gateway in filter(self._is_due, await self._user.objects(GATEWAYS)):
            conditions = self._conditions(gateway, "Accepted", "Programmed")
            await self._write(GATEWAYS, gateway, conditions=conditions, addresses=[{"value": "192.0.2.7"}])
        routes = await self._user.objects(HTTP_ROUTES)
        for route in filter(self._is_due, routes):
            await self._write(HTTP_ROUTES, route, parents=self._parents(route, _named_by(route)))
        for pool in filter(self._is_due, await self._user.objects(POOLS)):
            leading = [route for route in routes if _leads_to(route, pool)]
            parents = [parent for route in leading for parent in _named_by(route)]
            if parents or pool.get("status", {}).get("parents"):
                await self._write(POOLS, pool, parents=self._parents(pool, parents))

    def _is_due(self, live: Manifest) -> bool:
        version, now = (live["metadata"]["uid"], live["metadata"]["generation"]), virtual.clock()
        if now < self._due.setdefault(version, now + ACCEPTED_SECONDS):
            return False
        self._due[version] = now + REWRITTEN_SECONDS
        return True

    def _parents(self, live: Manifest, parents: Iterable[Manifest]) -> list[Manifest]:
        said = self._conditions(live, "Accepted", "ResolvedRefs")
        return [{"parentRef": one, "controllerName": "played/gateways", "conditions": said} for one in parents]

    def _conditions(self, live: Manifest, *kinds: str) -> list[Manifest]:
        of_it = {"observedGeneration": live["metadata"]["generation"], "lastTransitionTime": f"{virtual.clock():.0f}"}
        return [{"type": kind, "status": "True", "reason": kind, "message": "", **of_it} for kind in kinds]

    async def _write(self, resource: Resource, live: Manifest, **status: Any) -> None:
        self.writes += 1
        await _merge(self._kube, "gateways", resource, live["metadata"]["name"], {"status": status}, "status")


def _named_by(route: Manifest) -> list[Manifest]:
    parents: list[Manifest] = route["spec"]["parentRefs"]
    return parents


def _leads_to(route: Manifest, pool: Manifest) -> bool:
    backends = [backend for rule in route["spec"]["rules"] for backend in rule.get("backendRefs", ())]
    return any(b.get("kind") == POOLS.kind and b["name"] == pool["metadata"]["name"] for b in backends)
