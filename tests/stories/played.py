"""A cluster that is played: an API server in memory, and actors for its users, workload controllers and nodes.

The LeaderWorkerSet controller here makes and labels the pods of each copy, and replaces copies one at a time; it
makes no StatefulSets of its own, and never recreates a copy. The StatefulSet controller here knows Parallel pods,
partition, and one replacement at a time; every pod gets a node at once and is ready READY_SECONDS later. What the
real one does beyond that the tests on the real cluster show.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
from fusioninfer.reconcile.loop import Incomplete
from fusioninfer.reconcile.snapshot import (
    ENTRIES,
    EVENTS,
    LEADER_WORKER_SETS,
    LWS_GROUP,
    LWS_NAME,
    LWS_SIZE,
    LWS_WORKER,
    PODS,
    SERVICES,
    STATEFUL_SETS,
    Key,
)
from tests import virtual

READY_SECONDS = 1.0
STEP_SECONDS = 0.25
NAMESPACE = "default"


def a_server(*uids: str) -> MemoryServer:
    """An API server with our kind and the kinds of our children; `uids` are those of the first objects."""
    definitions = kubernetes_definitions()
    builtin = [
        Served(resource, definitions[resource.kind], definitions=definitions)
        for resource in (STATEFUL_SETS, ENTRIES, PODS, EVENTS)
    ]
    lws = Served(LEADER_WORKER_SETS, custom=True)
    given = iter(uids)
    return MemoryServer(
        [Served(SERVICES, service_schema(), custom=True), lws, *builtin],
        uids=lambda: next(given, None) or str(uuid.uuid4()),
    )


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


class Nodes:
    """The StatefulSet controller and the kubelets."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._user = User(kube)
        self._ready_at: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            await self.step()

    async def step(self) -> None:
        pods = {pod["metadata"]["name"]: pod for pod in await self._user.objects(PODS)}
        for resource, control in ((STATEFUL_SETS, self._control), (LEADER_WORKER_SETS, self._control_groups)):
            for live in await self._user.objects(resource):
                if not live["metadata"].get("deletionTimestamp"):
                    await control(live, _pods_of(live, pods))
        for pod in await self._user.objects(PODS):
            await self._start(pod)

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
        wanted = {
            f"{name}-{group}" + (f"-{node}" if node else ""): (group, node)
            for group in range(replicas)
            for node in range(template["size"])
        }
        for pod_name, (group, node) in wanted.items():
            if pod_name not in pods:
                part = template["workerTemplate" if node else "leaderTemplate"]
                labels = {LWS_NAME: name, LWS_GROUP: str(group), LWS_WORKER: str(node)}
                await self._make(live, part, pod_name, labels, {LWS_SIZE: str(template["size"])})
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
        await self._make(live, live["spec"]["template"], name, {REVISION: revision}, {})

    async def _make(
        self, live: Manifest, template: Manifest, name: str, labels: Manifest, annotations: Manifest
    ) -> None:  # fmt: skip
        owner = {key: live[key] for key in ("apiVersion", "kind")}
        owner |= {key: live["metadata"][key] for key in ("name", "uid")}
        written = template["metadata"]
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
            "spec": {"containers": template["spec"]["containers"], "nodeName": "played"},
        }
        body = msgspec.json.encode(pod)
        await self.kube.send(Request("POST", PODS.path(NAMESPACE), body=body, content_type=requests.JSON))

    async def _start(self, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        due = self._ready_at.setdefault(uid, virtual.clock() + READY_SECONDS)
        if virtual.clock() >= due and not _is_ready(pod):
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            await self._patch(PODS, pod["metadata"]["name"], {"status": status}, "status")

    async def _patch(self, resource: Resource, name: str, change: Manifest, subresource: str = "") -> None:
        body = msgspec.json.encode(change)
        path = resource.path(NAMESPACE, name, subresource)
        await self.kube.send(Request("PATCH", path, {"fieldManager": "nodes"}, body, MERGE_PATCH))


REVISION = "controller-revision-hash"


def _pods_of(live: Manifest, pods: dict[str, Manifest]) -> dict[str, Manifest]:
    """Those that `live` controls."""
    uid = live["metadata"]["uid"]
    return {name: pod for name, pod in pods.items() if pod["metadata"]["ownerReferences"][0]["uid"] == uid}


def _is_ready(pod: Manifest) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


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
    return {**rest, "metadata": {**metadata, "owners": owners}, "status": _timeless(live.get("status", {}))}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ("lastTransitionTime", "lastUpdateTime")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
