"""Objects for tests, valid by default: a test names only what matters to it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import msgspec

from fusioninfer.api import names, types
from fusioninfer.api.parse import parse
from fusioninfer.api.service import InferenceService, Manifest, Role
from fusioninfer.build.desired import Desired, desired_objects
from fusioninfer.build.engines import Engines
from fusioninfer.build.engines.custom import ENGINE as CUSTOM
from fusioninfer.build.engines.sglang import ENGINE as SGLANG
from fusioninfer.build.engines.trtllm import ENGINE as TRTLLM
from fusioninfer.build.engines.vllm import ENGINE as VLLM
from fusioninfer.build.gang.volcano import VOLCANO
from fusioninfer.build.router.strategies import Strategies
from fusioninfer.build.router.strategies.apart import PD_DISAGGREGATION
from fusioninfer.build.router.strategies.scored import KV_CACHE_UTILIZATION, LORA_AFFINITY, PREFIX_CACHE, QUEUE_SIZE
from fusioninfer.reconcile.gateway_api import HTTPRoute
from fusioninfer.reconcile.plan import signed
from fusioninfer.reconcile.snapshot import (
    CHILDREN,
    LWS_GROUP,
    LWS_NAME,
    LWS_SIZE,
    LWS_WORKER,
    READ_AS,
    Child,
    Owned,
    Pod,
    Service,
    Snapshot,
    StatefulSet,
)

ENGINES: Engines = {"custom": CUSTOM, "sglang": SGLANG, "trtllm": TRTLLM, "vllm": VLLM}
STRATEGIES: Strategies = {
    strategy.name: strategy
    for strategy in (PREFIX_CACHE, KV_CACHE_UTILIZATION, LORA_AFFINITY, PD_DISAGGREGATION, QUEUE_SIZE)
}
UID = "11111111-1111-1111-1111-111111111111"
GANG: Manifest = {"schedulerName": "volcano"}
"""A schedulingStrategy that asks for a gang of all."""


def a_container(**fields: Any) -> Manifest:
    """An engine container that vLLM is recognised in."""
    return {"name": "engine", "image": "vllm/vllm-openai:v0.32.0", "args": ["--model", "qwen"], **fields}


def a_template(*containers: Manifest, **spec: Any) -> Manifest:
    """A pod template of `containers`, or of one engine."""
    return {"spec": {"containers": list(containers) or [a_container()], **spec}}


def a_role(**fields: Any) -> Manifest:
    """A worker with one copy."""
    return {"name": "inference", "componentType": "worker", "replicas": 1, "template": a_template(), **fields}


def a_role_of_nodes(nodes: int, **fields: Any) -> Manifest:
    """A worker whose copies have so many nodes, with a process on each."""
    sizes = ["--model", "qwen", "--tensor-parallel-size", str(nodes)]
    return a_role(multinode={"nodeCount": nodes}, template=a_template(a_container(args=sizes)), **fields)


def a_router(**fields: Any) -> Manifest:
    """A router of one pod."""
    return {"name": "entry", "componentType": "router", "replicas": 1, **fields}


def behind_a_gateway(parent: str = "public", **fields: Any) -> Manifest:
    """A router of one pod to which somebody else's gateway leads; `route` is added to its HTTPRouteSpec."""
    route = fields.pop("route", {})
    return a_router(httproute={"parentRefs": [{"name": parent, "namespace": "infra"}], **route}, **fields)


def with_own_gateway(route: Manifest | None = None, gateway: Manifest | None = None) -> Manifest:
    """A router of one pod with a gateway of its own; `gateway` is added to its GatewaySpec."""
    return a_router(
        gateway={"gatewayClassName": "played", **(gateway or {})}, **({} if route is None else {"httproute": route})
    )


def told(*kinds: str, **changes: str) -> list[Manifest]:
    """Conditions of those kinds that a gateway's controller writes, each True but for `changes`: `status/reason`."""
    found = {kind: (changes.get(kind) or f"True/{kind}").partition("/") for kind in kinds}
    return [
        {"type": kind, "status": status, "reason": reason, "message": f"{kind}, as it said",
         "observedGeneration": 1, "lastTransitionTime": "2026-11-24T12:00:00Z"}
        for kind, (status, _, reason) in found.items()
    ]  # fmt: skip


def by_parent(*conditions: Manifest, name: str = "public", namespace: str = "infra", **reference: Any) -> Manifest:
    """What the controller of one gateway says of a route or of a pool."""
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": namespace}
    return {"parentRef": parent | reference, "controllerName": "played/gateway", "conditions": list(conditions)}


def open_hop(manifest: Manifest, *parents: Manifest) -> Manifest:
    """`manifest`, a child as it stands, with the status of a gateway through which all requests get."""
    match manifest["kind"]:
        case "Gateway":
            return {
                **manifest,
                "status": {
                    "conditions": told("Accepted", "Programmed"),
                    "addresses": [{"type": "IPAddress", "value": "192.0.2.7"}],
                },
            }
        case "HTTPRoute" | "InferencePool":
            said = told("Accepted", "ResolvedRefs")
            return {**manifest, "status": {"parents": list(parents) or [by_parent(*said)]}}
    return manifest


def a_route(
    name: str, *, route: Manifest, namespace: str = "default", age: str = "2026-11-24T10:00:00Z", **status: Any
) -> Manifest:
    """An HTTPRoute of a stranger's."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-of-{namespace}-{name}", "generation": 1,
                     "creationTimestamp": age},
        "spec": route,
        "status": status,
    }  # fmt: skip


def decoded_route(live: Manifest) -> HTTPRoute:
    """`live` as the cache holds it."""
    return msgspec.json.decode(msgspec.json.encode(live), type=HTTPRoute)


def a_router_template(*containers: Manifest, **spec: Any) -> Manifest:
    """What a user changes of the router's pods."""
    return {"spec": {**({"containers": list(containers)} if containers else {}), **spec}}


def prefill_and_decode(
    copies: tuple[int | None, int | None] = (1, 1), nodes: tuple[int, int] = (1, 1), **container: Any
) -> tuple[Manifest, Manifest]:
    """A prefiller and a decoder: how many copies each has (None: not said), and of how many nodes."""
    kinds = (("prefill", "prefiller"), ("decode", "decoder"))
    prefiller, decoder = (
        _engine_role(name, kind, own_copies, own_nodes, container)
        for (name, kind), own_copies, own_nodes in zip(kinds, copies, nodes, strict=True)
    )
    return prefiller, decoder


def _engine_role(name: str, kind: str, copies: int | None, nodes: int, container: Manifest) -> Manifest:
    sizes = ["--model", "qwen", "--tensor-parallel-size", str(nodes)]
    return {
        "name": name,
        "componentType": kind,
        **({} if copies is None else {"replicas": copies}),
        **({"multinode": {"nodeCount": nodes}} if nodes > 1 else {}),
        "template": a_template(a_container(args=sizes, **container)),
    }


def raw_service(*roles: Manifest, name: str = "qwen", generation: int = 1, **spec: Any) -> Manifest:
    """An InferenceService as the API server returns it."""
    return {
        "apiVersion": types.API_VERSION,
        "kind": types.KIND,
        "metadata": {"name": name, "namespace": "default", "uid": UID, "generation": generation},
        "spec": {"roles": list(roles) or [a_role()], **spec},
    }


def a_service(*roles: Manifest, **fields: Any) -> InferenceService:
    """The meaning of `raw_service`."""
    return parse(raw_service(*roles, **fields))


def role_of(container: Manifest, *, nodes: int = 1, **multinode: Any) -> Role:
    """The meaning of a role that runs `container`, in copies of `nodes` nodes."""
    several = {"multinode": {"nodeCount": nodes, **multinode}} if nodes > 1 else {}
    return a_service(a_role(template=a_template(container), **several)).roles[0]


def desired(*roles: Manifest, **fields: Any) -> Desired:
    """What should exist for `raw_service`."""
    return desired_objects(a_service(*roles, **fields), ENGINES, STRATEGIES)


def fields_of(value: Any) -> Any:
    """The fieldsV1 of an apply of `value`, as the API server writes it for lists keyed by name and for leaves."""
    if isinstance(value, dict):
        return {f"f:{key}": fields_of(child) for key, child in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {
            "k:" + msgspec.json.encode({"name": item["name"]}).decode(): {".": {}, **fields_of(item)} for item in value
        }
    return {}


def applied(manifest: Manifest, *, generation: int = 1, **status: Any) -> Manifest:
    """`manifest` as it stands in the API server after our apply of it."""
    sent = signed(manifest)
    own = {key: value for key, value in sent.items() if key not in ("apiVersion", "kind", "metadata", "subjects")}
    fields = fields_of({"metadata": {key: sent["metadata"][key] for key in ("labels", "annotations")}, **own})
    if "subjects" in sent:
        fields["f:subjects"] = {}  # a list that is held as one
    fields["f:metadata"]["f:ownerReferences"] = {f'k:{{"uid":"{UID}"}}': {}}
    live = copy.deepcopy(sent)
    live["metadata"] |= {
        "uid": f"uid-of-{manifest['metadata']['name']}",
        "resourceVersion": "7",
        "generation": generation,
        "managedFields": [{"manager": names.MANAGER, "operation": "Apply", "fieldsV1": fields}],
    }
    return {**live, "status": {"observedGeneration": generation, "updateRevision": "rev-1", **status}}


def a_pod(index: int = 0, *, revision: str = "rev-1", workload: str = "qwen-inference", **status: Any) -> Manifest:
    """A pod that was made and not yet placed."""
    role = workload.removeprefix("qwen-")
    labels = {names.SERVICE_LABEL: "qwen", names.ROLE_LABEL: role, names.SERVING_LABEL: "true"}
    return {
        "metadata": {
            "name": f"{workload}-{index}",
            "namespace": "default",
            "uid": f"pod-{index}-{revision}",
            "labels": {**labels, "controller-revision-hash": revision},
            "ownerReferences": [
                {"uid": f"uid-of-{workload}", "kind": "StatefulSet", "name": workload, "controller": True}
            ],
        },
        "status": {"phase": "Pending", **status},
    }


def a_ready_pod(index: int = 0, **fields: Any) -> Manifest:
    """A pod that answers."""
    pod = a_pod(index, phase="Running", conditions=[{"type": "Ready", "status": "True"}], **fields)
    return {**pod, "spec": {"nodeName": "local"}}


def a_group(
    index: int = 0,
    *,
    nodes: int = 2,
    template: str,
    missing: tuple[int, ...] = (),
    unready: tuple[int, ...] = (),
    workload: str = "qwen-inference",
) -> tuple[Manifest, ...]:
    """The pods of one copy of several nodes, as LeaderWorkerSet makes them of the template with that mark."""
    return tuple(
        _a_node(workload, index, node, nodes, template, ready=node not in unready)
        for node in range(nodes)
        if node not in missing
    )


def _a_node(workload: str, index: int, node: int, nodes: int, template: str, *, ready: bool) -> Manifest:
    pod = a_ready_pod(index, workload=workload) if ready else a_pod(index, workload=workload)
    metadata = pod["metadata"]
    lws = {LWS_NAME: workload, LWS_GROUP: str(index), LWS_WORKER: str(node)}
    return {
        **pod,
        "metadata": {
            **metadata,
            "name": f"{workload}-{index}" + (f"-{node}" if node else ""),
            "uid": f"pod-{index}-{node}-{template}",
            "labels": {**metadata["labels"], **lws},
            "annotations": {LWS_SIZE: str(nodes), names.TEMPLATE: template},
            "ownerReferences": [{"uid": "between", "kind": "StatefulSet", "name": "between", "controller": True}],
        },
    }


def a_router_pod(number: int = 0, *, template: str, ready: bool = True, **status: Any) -> Manifest:
    """A pod of the router, as a Deployment makes it by a ReplicaSet of the template with that mark."""
    labels = {**names.router_labels("qwen", "entry"), "pod-template-hash": template}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {
            "name": f"qwen-entry-{template}-{number}",
            "namespace": "default",
            "uid": f"router-pod-{number}-{template}",
            "labels": labels,
            "annotations": {names.TEMPLATE: template},
            "ownerReferences": [
                {"uid": "between", "kind": "ReplicaSet", "name": f"qwen-entry-{template}", "controller": True}
            ],
        },
        "spec": {"nodeName": "local"},
        "status": {
            "phase": "Running",
            "conditions": conditions,
            "containerStatuses": [{"name": "envoy", "ready": ready}],
            **status,
        },
    }


def mark_of(workload: Manifest) -> str:
    """The mark of the template that `workload` has, which its pods carry too."""
    return str(workload["metadata"]["annotations"][names.TEMPLATE])


def a_waiting_pod(index: int = 0, *, reason: str, message: str = "", **container: Any) -> Manifest:
    """A pod on a node whose engine container waits."""
    status = {"name": "engine", "state": {"waiting": {"reason": reason, "message": message}}, **container}
    return {**a_pod(index, containerStatuses=[status]), "spec": {"nodeName": "local"}}


def in_gang(pod: Manifest, gang: str = "qwen") -> Manifest:
    """`pod`, which names that gang as its own."""
    metadata = pod["metadata"]
    return {**pod, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **of_gang(gang)}}}


def of_gang(gang: str = "qwen") -> dict[str, str]:
    """The annotation that names a gang."""
    return {VOLCANO.group_annotation: gang}


def on_node(pod: Manifest, node: str = "gpu-1") -> Manifest:
    """`pod`, which was placed."""
    return {**pod, "spec": {"nodeName": node}}


def that_ends(pod: Manifest) -> Manifest:
    """`pod`, which was told to end."""
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-11-24T12:00:00Z"}}


def without_node(pod: Manifest, reason: str = "Unschedulable", message: str = "") -> Manifest:
    """`pod`, which a scheduler has looked at and not placed."""
    looked = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {**pod, "spec": {}, "status": {"phase": "Pending", "conditions": [looked]}}


def that_fits(pod: Manifest, node: str = "gpu-1") -> Manifest:
    """`pod`, which waits for its gang alone, as Volcano says it."""
    name = pod["metadata"]["name"]
    return without_node(
        pod, "Schedulable", f"Pod default/{name} can possibly be assigned to {node}, once minAvailable is satisfied"
    )


def a_snapshot(
    raw: Manifest | None = None,
    *,
    children: tuple[Manifest, ...] = (),
    pods: tuple[Manifest, ...] = (),
    unserved: Iterable[str] = (),
    rivals: tuple[Manifest, ...] = (),
) -> Snapshot:
    """What was seen of the service `raw`."""
    service = msgspec.json.decode(msgspec.json.encode(raw or raw_service()), type=Service)
    return Snapshot(
        service,
        {(live["kind"], live["metadata"]["name"]): child(live) for live in children},
        tuple(decoded_pod(pod) for pod in pods),
        frozenset(unserved),
        tuple(map(decoded_route, rivals)),
    )


def decoded_pod(pod: Manifest) -> Pod:
    """`pod` as the cache holds it."""
    return msgspec.convert(pod, Pod)


def decoded_stateful_set(live: Manifest) -> StatefulSet:
    """`live` as the cache holds it."""
    return msgspec.json.decode(msgspec.json.encode(live), type=StatefulSet)


def child(live: Manifest) -> Child:
    """`live` as the cache holds it."""
    resource = CHILDREN[live["apiVersion"], live["kind"]]
    kind: type[Child] = READ_AS.get(resource, Owned)
    return msgspec.json.decode(msgspec.json.encode(live), type=kind)
