"""What must be refused and what must be accepted, once for the API server and once for `parse`.

Both refuse the same objects, each in its own words: the API server on apply, `parse` what was stored before a rule
existed and what is rendered without a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusioninfer.api import types
from fusioninfer.api.service import Manifest

OURS = f"{types.GROUP}/role"
KIB = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object that is wrong in one thing."""

    id: str
    service: Manifest
    field: str
    """The field that `parse` blames."""
    says: str | None
    """Words of the API server's answer; None: its schema and rules cannot know."""
    parse_says: str | None
    """Words of `parse`'s problem; None: it leaves this to the API server."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An object in which nothing is wrong, whatever it looks like."""

    id: str
    service: Manifest


# --- a valid object, and edits of it ------------------------------------------------------------------------------


def service(*roles: Manifest, name: str = "qwen", **spec: Any) -> Manifest:
    """A service of `roles`, or of one worker."""
    return {
        "apiVersion": types.API_VERSION,
        "kind": types.KIND,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"roles": list(roles or (role(),)), **spec},
    }


def role(name: str = "inference", component_type: str = "worker", **fields: Any) -> Manifest:
    return {"name": name, "componentType": component_type, "template": template(), **fields}


def prefiller(name: str = "prefill-servers", **fields: Any) -> Manifest:
    return role(name, "prefiller", **fields)


def decoder(name: str = "decode-servers", **fields: Any) -> Manifest:
    return role(name, "decoder", **fields)


def router(name: str = "entry", **fields: Any) -> Manifest:
    return {"name": name, "componentType": "router", "strategy": "prefix-cache", **fields}


def own_config(text: str = "a: b", **fields: Any) -> Manifest:
    """A router whose picker reads a whole config."""
    return {**without(router(**fields), "strategy"), "endpointPickerConfig": text}


QUEUES: Manifest = {"type": "queue-scorer", "weight": 1}


def template(**container: Any) -> Manifest:
    """A pod template with one container."""
    return pods(engine(**container))


def pods(*containers: Manifest, **spec: Any) -> Manifest:
    return {"spec": {"containers": list(containers), **spec}}


def engine(**fields: Any) -> Manifest:
    return {"name": "engine", "image": "vllm/vllm-openai:v0.11.0", "args": ["--model", "Qwen/Qwen3-8B"], **fields}


def with_metadata(**metadata: Any) -> Manifest:
    return {"metadata": metadata, **template()}


def gang(**fields: Any) -> Manifest:
    """A schedulingStrategy of a scheduler that makes gangs."""
    return {"schedulerName": "volcano", **fields}


def rolling(**fields: Any) -> Manifest:
    return {"rollingUpdate": fields}


def several(worker_template: Manifest) -> Manifest:
    """A role whose copies have two nodes with a template each."""
    return role(engine="custom", multinode={"nodeCount": 2, "workerTemplate": worker_template})


def annotated(key: str) -> tuple[tuple[str, str, Manifest], ...]:
    """Everywhere that a role may carry the annotation `key`: in words, the path of the metadata, and the role."""
    metadata = {"annotations": {key: "x"}}
    return (
        ("on pods", "spec.roles[0].template.metadata", role(template={"metadata": metadata, **template()})),
        (
            "on the other pods of a copy",
            "spec.roles[0].multinode.workerTemplate.metadata",
            several({"metadata": metadata, **template()}),
        ),
        ("on the workload", "spec.roles[0].metadata", role(metadata=metadata)),
    )


def without(whole: Manifest, key: str) -> Manifest:
    return {kept: value for kept, value in whole.items() if kept != key}


# --- refused ------------------------------------------------------------------------------------------------------

TOPOLOGY = (
    Refusal("no spec", without(service(), "spec"), "spec", "spec: Required value", "missing"),
    Refusal("no roles", {**service(), "spec": {}}, "spec", "spec.roles: Required value", "`roles`"),
    Refusal("roles empty", {**service(), "spec": {"roles": []}}, "spec.roles", "at least 1 items", "length >= 1"),
    Refusal(
        "two workers", service(role(), role("second")), "spec.roles",
        "spec.roles: Invalid value: at most one worker", "at most one worker",
    ),
    Refusal("worker with decoder", service(role(), decoder()), "spec.roles", "stands alone", "stands alone"),
    Refusal(
        "worker with prefiller and decoder", service(role(), prefiller(), decoder()), "spec.roles",
        "a worker handles whole requests and stands alone", "stands alone",
    ),
    Refusal("prefiller alone", service(prefiller()), "spec.roles", "need each other", "need each other"),
    Refusal("decoder alone", service(decoder()), "spec.roles", "need each other", "need each other"),
    Refusal(
        "two routers", service(role(), router(), router("second")), "spec.roles",
        "at most one router", "at most one router",
    ),
    Refusal(
        "router alone", service(router()), "spec.roles",
        "one worker, or at least one prefiller and one decoder, are needed", "are needed",
    ),
    Refusal(
        "17 roles", service(prefiller(), *(decoder(f"decode-{letter}") for letter in "abcdefghijklmnop")),
        "spec.roles", "at most 16 items", "length <= 16",
    ),
    Refusal(
        "unknown component type", service(role("inference", "planner")), "spec.roles[0].componentType",
        'supported values: "decoder", "prefiller", "router", "worker"', "planner",
    ),
)  # fmt: skip

NAMES = (
    Refusal(
        "role name twice", service(prefiller("same"), decoder("same")), "spec.roles[1].name",
        'spec.roles[1]: Duplicate value: {"name":"same"}', "used twice",
    ),
    Refusal(
        "role without a name", service(without(role(), "name")), "spec.roles[0]",
        "spec.roles[0].name: Required value", "`name`",
    ),
    Refusal("role name empty", service(role("")), "spec.roles[0].name", "at least 1 chars", "length >= 1"),
    Refusal("role name with a dot", service(role("a.b")), "spec.roles[0].name", "should match", "regex"),
    Refusal("role name in capitals", service(role("Inference")), "spec.roles[0].name", "should match", "regex"),
    Refusal("role name ends with a dash", service(role("a-")), "spec.roles[0].name", "should match", "regex"),
    Refusal(
        "names too long together", service(role("r" * 26), name="s" * 25), "spec.roles[0].name",
        "metadata.name: Invalid value: together with a role's name it must have at most 50 characters",
        "52 characters",
    ),
    Refusal(
        "role named like a group of a multi-node role",
        service(prefiller("part", multinode={"nodeCount": 2}), decoder("part-1")), "spec.roles[1].name",
        "LeaderWorkerSet makes such names", "LeaderWorkerSet makes such names",
    ),
    Refusal(
        "role named like a group, other spelling", service(prefiller("part-12"), decoder("part", podReplicas=2)),
        "spec.roles[0].name", "LeaderWorkerSet makes such names", "LeaderWorkerSet makes such names",
    ),
    Refusal(
        "service name with a dot", service(name="qwen.v3"), "metadata.name",
        "metadata.name: Invalid value: must be a DNS-1035 label", "DNS-1035",
    ),
    Refusal("service name begins with a digit", service(name="3qwen"), "metadata.name", "DNS-1035", "DNS-1035"),
    Refusal(
        "service name in capitals", service(name="Qwen"), "metadata.name",
        "a lowercase RFC 1123 subdomain", "DNS-1035",
    ),
)  # fmt: skip

COUNTS = (
    Refusal("replicas -1", service(role(replicas=-1)), "spec.roles[0].replicas", "equal to 0", ">= 0"),
    Refusal(
        "replicas 2^31", service(role(replicas=2**31)), "spec.roles[0].replicas",
        "less than or equal to 100000", "<= 100000",
    ),
    Refusal(
        "replicas in words", service(role(replicas="two")), "spec.roles[0].replicas",
        'must be of type integer: "string"', "Expected `int`, got `str`",
    ),
    Refusal(
        "replicas with a fraction", service(role(replicas=1.5)), "spec.roles[0].replicas",
        'must be of type integer: "number"', "Expected `int`, got `float`",
    ),
    Refusal(
        "replicas and roleReplicas disagree", service(role(replicas=2, roleReplicas=3)), "spec.roles[0].roleReplicas",
        "spec.roles[0]: Invalid value: replicas and roleReplicas are two spellings", "two spellings",
    ),
    Refusal(
        "nodeCount and podReplicas disagree", service(role(multinode={"nodeCount": 1}, podReplicas=2)),
        "spec.roles[0].podReplicas", "multinode.nodeCount and podReplicas are two spellings", "two spellings",
    ),
    Refusal(
        "nodeCount 0", service(role(multinode={"nodeCount": 0})), "spec.roles[0].multinode.nodeCount",
        "equal to 1", ">= 1",
    ),
    Refusal(
        "multinode without nodeCount", service(role(multinode={})), "spec.roles[0].multinode",
        "nodeCount: Required value", "`nodeCount`",
    ),
    Refusal("podReplicas 0", service(role(podReplicas=0)), "spec.roles[0].podReplicas", "equal to 1", ">= 1"),
    Refusal(
        "deadline 0", service(role(progressDeadlineSeconds=0)), "spec.roles[0].progressDeadlineSeconds",
        "equal to 1", ">= 1",
    ),
)  # fmt: skip

ROLLING_UPDATE = "spec.roles[0].rolloutStrategy.rollingUpdate"

ROLLOUT = (
    Refusal(
        "maxUnavailable 0 without surge", service(role(rolloutStrategy=rolling(maxUnavailable=0))),
        f"{ROLLING_UPDATE}.maxUnavailable", "needs a maxSurge of at least 1", "needs a maxSurge of at least 1",
    ),
    Refusal(
        "maxUnavailable 0% beside maxSurge 0",
        service(role(rolloutStrategy=rolling(maxUnavailable="0%", maxSurge=0))),
        f"{ROLLING_UPDATE}.maxUnavailable", "needs a maxSurge of at least 1", "needs a maxSurge of at least 1",
    ),
    Refusal(
        "maxUnavailable 0 beside maxSurge 0%",
        service(role(replicas=1, rolloutStrategy=rolling(maxUnavailable=0, maxSurge="0%"))),
        f"{ROLLING_UPDATE}.maxUnavailable", "needs a maxSurge of at least 1", "needs a maxSurge of at least 1",
    ),
    Refusal(
        "maxUnavailable x", service(role(rolloutStrategy=rolling(maxUnavailable="x"))),
        f"{ROLLING_UPDATE}.maxUnavailable", "maxUnavailable in body should match", "percentage",
    ),
    Refusal(
        "maxUnavailable 101%", service(role(rolloutStrategy=rolling(maxUnavailable="101%"))),
        f"{ROLLING_UPDATE}.maxUnavailable", "maxUnavailable in body should match", "percentage",
    ),
    Refusal(
        "maxUnavailable -1", service(role(rolloutStrategy=rolling(maxUnavailable=-1))),
        f"{ROLLING_UPDATE}.maxUnavailable", "greater than or equal to 0", "at least 0",
    ),
    Refusal(
        "maxUnavailable 1.5", service(role(rolloutStrategy=rolling(maxUnavailable=1.5))),
        f"{ROLLING_UPDATE}.maxUnavailable", 'must be of type integer,string: "number"', "Expected `int | str`",
    ),
    Refusal(
        "maxSurge without replicas", service(role(rolloutStrategy=rolling(maxSurge=1))),
        f"{ROLLING_UPDATE}.maxSurge", "maxSurge needs replicas on a role of one node", "needs replicas",
    ),
    Refusal(
        "maxSurge 50% without replicas", service(role(podReplicas=1, rolloutStrategy=rolling(maxSurge="50%"))),
        f"{ROLLING_UPDATE}.maxSurge", "maxSurge needs replicas on a role of one node", "needs replicas",
    ),
    Refusal(
        "partition -1", service(role(rolloutStrategy=rolling(partition=-1))),
        f"{ROLLING_UPDATE}.partition", "greater than or equal to 0", ">= 0",
    ),
)  # fmt: skip

UNKNOWN = (
    Refusal(
        "unknown field of spec", service(replica=1), "spec", 'unknown field "spec.replica"', "`replica`",
    ),
    Refusal(
        "unknown field of a role", service(role(replica=1)), "spec.roles[0]",
        'unknown field "spec.roles[0].replica"', "`replica`",
    ),
    Refusal(
        "unknown field of a container", service(role(template=template(arg=["x"]))), "",
        'unknown field "spec.roles[0].template.spec.containers[0].arg"', None,
    ),
    Refusal(
        "ephemeral containers", service(role(template=pods(engine(), ephemeralContainers=[{"name": "debug"}]))), "",
        'unknown field "spec.roles[0].template.spec.ephemeralContainers"', None,
    ),
    Refusal(
        "unknown scheduling strategy", service(schedulingStrategy={"scheduler": "volcano"}),
        "spec.schedulingStrategy", 'unknown field "spec.schedulingStrategy.scheduler"', "`scheduler`",
    ),
)  # fmt: skip

TEMPLATES = (
    Refusal(
        "no template", service(without(role(), "template")), "spec.roles[0].template.spec.containers",
        "template.spec.containers needs at least one container", "at least one container",
    ),
    Refusal(
        "no containers", service(role(template={"spec": {}})), "spec.roles[0].template.spec.containers",
        "template.spec.containers needs at least one container", "at least one container",
    ),
    Refusal(
        "containers empty", service(role(template=pods())), "spec.roles[0].template.spec.containers",
        "template.spec.containers needs at least one container", "at least one container",
    ),
    Refusal(
        "container name twice", service(role(template=pods(engine(), engine()))),
        "spec.roles[0].template.spec.containers[1].name", 'Duplicate value: {"name":"engine"}', "used twice",
    ),
    Refusal(
        "container without a name", service(role(template=pods({"image": "x"}))),
        "spec.roles[0].template.spec.containers[0].name", "containers[0].name: Required value", "needs a name",
    ),
    Refusal(
        "container without an image", service(role(template=pods({"name": "engine"}))),
        "spec.roles[0].template.spec.containers[0].image", None, "needs an image",
    ),
    Refusal(
        "variable twice", service(role(template=template(env=[{"name": "A", "value": "1"}, {"name": "A"}]))),
        "spec.roles[0].template.spec.containers[0].env[1].name", 'Duplicate value: {"name":"A"}', "set twice",
    ),
    Refusal(
        "args no list", service(role(template=template(args="--model x"))), "",
        'containers[0].args: Invalid value: "string"', None,
    ),
    Refusal(
        "amount with a blank", service(role(template=template(resources={"limits": {"memory": "80 Gi"}}))), "",
        "resources.limits.memory in body should match", None,
    ),
    Refusal(
        "amount split by a dot", service(role(template=template(resources={"limits": {"nvidia.com": {"gpu": 1}}}))),
        "", "resources.limits.nvidia.com", None,
    ),
    Refusal(
        "our label on pods", service(role(template=with_metadata(labels={OURS: "x"}))),
        f"spec.roles[0].template.metadata.labels.{OURS}", None, "reserved",
    ),
    Refusal(
        "our label on the workload", service(role(metadata={"labels": {OURS: "x"}})),
        f"spec.roles[0].metadata.labels.{OURS}", None, "reserved",
    ),
)  # fmt: skip

ROUTERS = (
    Refusal(
        "router with nodes", service(role(), router(multinode={"nodeCount": 2})), "spec.roles[1].multinode",
        "spec.roles[1]: Invalid value: a router has no engine and no nodes", "router",
    ),
    Refusal(
        "router with an engine", service(role(), router(engine="vllm")), "spec.roles[1].engine",
        "a router has no engine and no nodes", "router",
    ),
    Refusal(
        "worker with a strategy", service(role(strategy="prefix-cache")), "spec.roles[0].strategy",
        "belong to a router", "belongs to a router",
    ),
    Refusal(
        "worker with a route", service(role(httproute={"hostnames": ["a.example"]})), "spec.roles[0].httproute",
        "belong to a router", "belongs to a router",
    ),
    Refusal(
        "strategy in capitals", service(role(), router(strategy="Prefix")), "spec.roles[1].strategy",
        "should match", "regex",
    ),
    Refusal(
        "strategy beside a whole config", service(role(), router(endpointPickerConfig="a: b")),
        "spec.roles[1].strategy", None, "endpointPickerConfig says all of it",
    ),
    Refusal(
        "scorers beside a whole config", service(role(), own_config(scorers=[QUEUES])),
        "spec.roles[1].scorers", None, "endpointPickerConfig says all of it",
    ),
    Refusal(
        "scorer without a weight", service(role(), router(scorers=[without(QUEUES, "weight")])),
        "spec.roles[1].scorers[0]", "scorers[0].weight: Required value", "`weight`",
    ),
    Refusal(
        "weight below 0", service(role(), router(scorers=[{**QUEUES, "weight": -1}])),
        "spec.roles[1].scorers[0].weight", "greater than or equal to 0", ">= 0",
    ),
    Refusal(
        "33 scorers", service(role(), router(scorers=[QUEUES] * 33)), "spec.roles[1].scorers",
        "at most 32 items", "length <= 32",
    ),
    Refusal(
        "config of more than 64 KiB", service(role(), own_config("x" * 65537)),
        "spec.roles[1].endpointPickerConfig", "may not be more than 65536", "length <= 65536",
    ),
    Refusal(
        "router with a way of rolling", service(role(), router(rolloutStrategy=rolling(maxSurge=1))),
        "spec.roles[1].rolloutStrategy", None, "always replaced before the old one goes",
    ),
    Refusal(
        "router's replicas in two spellings", service(role(), router(replicas=1, roleReplicas=2)),
        "spec.roles[1].roleReplicas", "replicas and roleReplicas are two spellings", "disagrees with replicas 1",
    ),
    Refusal(
        "router's container without a name", service(role(), router(template=pods({"image": "x"}))),
        "spec.roles[1].template.spec.containers[0].name", "containers[0].name: Required value", "needs a name",
    ),
    Refusal(
        "router's variable twice",
        service(role(), router(template=pods({"name": "epp", "env": [{"name": "A", "value": "1"}, {"name": "A"}]}))),
        "spec.roles[1].template.spec.containers[0].env[1].name", 'Duplicate value: {"name":"A"}', "set twice",
    ),
    Refusal(
        "our label on the router's pods", service(role(), router(template={"metadata": {"labels": {OURS: "x"}}})),
        f"spec.roles[1].template.metadata.labels.{OURS}", None, "reserved",
    ),
    Refusal(
        "our annotation on the router's pods",
        service(role(), router(template={"metadata": {"annotations": {f"{types.GROUP}/template": "x"}}})),
        f"spec.roles[1].template.metadata.annotations.{types.GROUP}/template", None, "reserved",
    ),
    Refusal(
        "our label on the router", service(role(), router(metadata={"labels": {OURS: "x"}})),
        f"spec.roles[1].metadata.labels.{OURS}", None, "reserved",
    ),
    Refusal(
        "router named like a node of a copy",
        service(role("chat", multinode={"nodeCount": 2}), router("chat-0")), "spec.roles[1].name",
        "LeaderWorkerSet makes such names", "LeaderWorkerSet makes such names",
    ),
)  # fmt: skip

OF_A_GATEWAY = {"parentRefs": [{"name": "gw"}]}


def _wrong_route(name: str, field: str, route: Manifest, says: str) -> Refusal:
    """Of a route the CRD knows nothing: the API server lets it in, and would refuse our HTTPRoute later."""
    return Refusal(name, service(role(), router(httproute=route)), f"spec.roles[1].httproute{field}", None, says)


GATEWAYS = (
    _wrong_route("route of no gateway", ".parentRefs", {}, "name the gateway that leads here, or give a `gateway`"),
    _wrong_route(
        "route with an empty list of gateways", ".parentRefs", {"hostnames": ["a.example"], "parentRefs": []},
        "without both remove httproute, and the router lets clients in by itself",
    ),
    _wrong_route("gateways that are no list", ".parentRefs", {"parentRefs": {"name": "gw"}}, "is no list of objects"),
    _wrong_route("gateways that are names", ".parentRefs", {"parentRefs": ["gw"]}, "['gw'] is no list of objects"),
    _wrong_route(
        "gateway without a name", ".parentRefs[1].name", {"parentRefs": [{"name": "gw"}, {"namespace": "infra"}]},
        "say which gateway",
    ),
    _wrong_route("rules that are no list", ".rules", {**OF_A_GATEWAY, "rules": "all"}, "'all' is no list of objects"),
    _wrong_route("rule that is none", ".rules", {**OF_A_GATEWAY, "rules": [None]}, "[None] is no list of objects"),
    _wrong_route(
        "filters that are no list", ".rules[1].filters", {**OF_A_GATEWAY, "rules": [{}, {"filters": "URLRewrite"}]},
        "'URLRewrite' is no list of objects",
    ),
    _wrong_route(
        "filter that is none", ".rules[0].filters", {**OF_A_GATEWAY, "rules": [{"filters": [None]}]},
        "[None] is no list of objects",
    ),
    _wrong_route(
        "hostnames that are no list", ".hostnames", {**OF_A_GATEWAY, "hostnames": "a.example"},
        "'a.example' is no list of names",
    ),
    _wrong_route(
        "hostname that is a number", ".hostnames", {**OF_A_GATEWAY, "hostnames": [1]}, "[1] is no list of names"
    ),
    Refusal(
        "gateway of no class", service(role(), router(gateway={"listeners": []})),
        "spec.roles[1].gateway.gatewayClassName", None, "`kubectl get gatewayclass` lists them",
    ),
    Refusal(
        "gateway beside another one that is named",
        service(role(), router(httproute=OF_A_GATEWAY, gateway={"gatewayClassName": "istio"})),
        "spec.roles[1].gateway", None, "httproute.parentRefs names a gateway already, so none is made",
    ),
    Refusal(
        "worker with a gateway", service(role(gateway={"gatewayClassName": "istio"})), "spec.roles[0].gateway",
        "belong to a router", "belongs to a router",
    ),
)  # fmt: skip

STRATEGY = "spec.schedulingStrategy"
GROUP_NAME = "scheduling.k8s.io/group-name"
NO_SCHEDULER = (
    "spec.schedulingStrategy: Invalid value: queue, priorityClassName, networkTopology belong to a gang, "
    "which needs schedulerName volcano"
)
NO_GANG = "spec.schedulingStrategy: Invalid value: gang.mode None makes no gang that queue, priorityClassName"
WISHES: tuple[tuple[str, object], ...] = (
    ("queue", "research"),
    ("priorityClassName", "high"),
    ("networkTopology", {"mode": "soft"}),
)

GANGS = (
    *(
        Refusal(
            f"{field} without a scheduler", service(schedulingStrategy={field: value}), f"{STRATEGY}.{field}",
            NO_SCHEDULER, "belongs to a gang, which needs schedulerName 'volcano'",
        )
        for field, value in WISHES
    ),
    *(
        Refusal(
            f"{field} with a scheduler that makes no gangs",
            service(schedulingStrategy={"schedulerName": "default-scheduler", field: value}), f"{STRATEGY}.{field}",
            NO_SCHEDULER, "belongs to a gang, which needs schedulerName 'volcano'",
        )
        for field, value in WISHES
    ),
    *(
        Refusal(
            f"{field} with gang mode None", service(schedulingStrategy=gang(gang={"mode": "None"}, **{field: value})),
            f"{STRATEGY}.{field}", NO_GANG, "gang.mode None makes no gang",
        )
        for field, value in WISHES
    ),
    Refusal(
        "gang without a scheduler", service(schedulingStrategy={"gang": {"mode": "All"}}), f"{STRATEGY}.gang",
        "spec.schedulingStrategy: Invalid value: a gang needs schedulerName volcano",
        "a gang needs schedulerName 'volcano'",
    ),
    Refusal(
        "gang that says nothing without a scheduler", service(schedulingStrategy={"gang": {}}), f"{STRATEGY}.gang",
        "a gang needs schedulerName volcano", "a gang needs schedulerName 'volcano'",
    ),
    Refusal(
        "gang with a scheduler that makes no gangs",
        service(schedulingStrategy={"schedulerName": "my-scheduler", "gang": {"mode": "MinReplicas"}}),
        f"{STRATEGY}.gang", "a gang needs schedulerName volcano", "a gang needs schedulerName 'volcano'",
    ),
    Refusal(
        "unknown gang mode", service(schedulingStrategy=gang(gang={"mode": "Some"})), f"{STRATEGY}.gang.mode",
        'supported values: "All", "MinReplicas", "None"', "'Some'",
    ),
    Refusal(
        "minReplicas of a role that there is not",
        service(schedulingStrategy=gang(gang={"mode": "MinReplicas", "minReplicas": {"decode": 1}})),
        f"{STRATEGY}.gang.minReplicas.decode",
        "spec.schedulingStrategy: Invalid value: each name in minReplicas must be that of an engine role",
        "no engine role has that name; there are 'inference'",
    ),
    Refusal(
        "minReplicas of a role that there is not, with gang mode All",
        service(schedulingStrategy=gang(gang={"minReplicas": {"decode": 1}})),
        f"{STRATEGY}.gang.minReplicas.decode",
        "each name in minReplicas must be that of an engine role", "no engine role has that name",
    ),
    Refusal(
        "minReplicas of a router",
        service(role(), router(), schedulingStrategy=gang(gang={"minReplicas": {"entry": 1}})),
        "spec.schedulingStrategy.gang.minReplicas.entry",
        "each name in minReplicas must be that of an engine role", "no engine role has that name",
    ),
    Refusal(
        "minReplicas of a role that there is not, with gang mode None",
        service(schedulingStrategy=gang(gang={"mode": "None", "minReplicas": {"decode": 1}})), "",
        "each name in minReplicas must be that of an engine role", None,
    ),
    Refusal(
        "minReplicas -1", service(schedulingStrategy=gang(gang={"minReplicas": {"inference": -1}})),
        f"{STRATEGY}.gang.minReplicas[...]", "greater than or equal to 0", ">= 0",
    ),
    Refusal(
        "more minReplicas than replicas",
        service(
            role(replicas=2), schedulingStrategy=gang(gang={"mode": "MinReplicas", "minReplicas": {"inference": 3}})
        ),
        f"{STRATEGY}.gang.minReplicas.inference", None, "3 is more than the role's 2 replicas",
    ),
    Refusal(
        "more minReplicas than replicas, with gang mode All",
        service(role(roleReplicas=2), schedulingStrategy=gang(gang={"minReplicas": {"inference": 3}})),
        f"{STRATEGY}.gang.minReplicas.inference", None, "3 is more than the role's 2 replicas",
    ),
    Refusal(
        "tier 0", service(schedulingStrategy=gang(networkTopology={"highestTierAllowed": 0})),
        f"{STRATEGY}.networkTopology.highestTierAllowed", "greater than or equal to 1", ">= 1",
    ),
    Refusal(
        "template of another scheduler than the gang",
        service(role(template=pods(engine(), schedulerName="default-scheduler")), schedulingStrategy=gang()),
        "spec.roles[0].template.spec.schedulerName", None, "'default-scheduler': the gang is volcano's",
    ),
    Refusal(
        "workerTemplate of another scheduler than the gang",
        service(several(pods(engine(), schedulerName="my-scheduler")), schedulingStrategy=gang()),
        "spec.roles[0].multinode.workerTemplate.spec.schedulerName", None, "'my-scheduler': the gang is volcano's",
    ),
    *(
        Refusal(
            f"{key} {where} beside a gang", service(role_, schedulingStrategy=gang()), f"{path}.annotations.{key}",
            None, says,
        )
        for key, says in (
            (GROUP_NAME, "belong to the service's own gang"),
            ("leaderworkerset.sigs.k8s.io/exclusive-topology", "use spec.schedulingStrategy.networkTopology"),
            ("leaderworkerset.sigs.k8s.io/subgroup-exclusive-topology", "use spec.schedulingStrategy.networkTopology"),
        )
        for where, path, role_ in annotated(key)
    ),
)  # fmt: skip

SIZES = (
    Refusal(
        "10,000 roles", service(prefiller(), *(decoder(f"decode-{index}") for index in range(10_000))),
        "spec.roles", "spec.roles: Too many: 10001: must have at most 16 items", "length <= 16",
    ),
    Refusal(
        "1.4 MiB in one argument", service(role(template=template(args=["x" * 1434 * KIB]))), "",
        "args[0]: Too long: may not be more than 131071 bytes", None,
    ),
    Refusal(
        "1.4 MiB in one variable", service(role(template=template(env=[{"name": "A", "value": "x" * 1434 * KIB}]))),
        "", "env[0].value: Too long: may not be more than 131071 bytes", None,
    ),
    Refusal(
        "1.4 MiB in many arguments", service(role(template=template(args=["x" * 2867] * 512))), "",
        "template: Invalid value: command, args and the values in env may have 256 KiB together", None,
    ),
    Refusal(
        "260 KiB in variables of containers of both kinds",
        service(role(template=pods(
            engine(env=[{"name": "A", "value": "x" * 100 * KIB}, {"name": "B", "value": "x" * 100 * KIB}]),
            initContainers=[engine(name="first", env=[{"name": "A", "value": "x" * 60 * KIB}])]
        ))),
        "", "command, args and the values in env may have 256 KiB together", None,
    ),
    Refusal(
        "1.4 MiB in annotations",
        service(role(template=with_metadata(annotations={f"a{index}": "x" * 14 * KIB for index in range(100)}))), "",
        "template: Invalid value: annotations may have 256 KiB together", None,
    ),
    Refusal(
        "17 containers", service(role(template=pods(*(engine(name=f"c{index}") for index in range(17))))), "",
        "template.spec.containers: Too many: 17: must have at most 16 items", None,
    ),
    Refusal(
        "513 variables",
        service(role(template=template(env=[{"name": f"A{index}", "value": "x"} for index in range(513)]))), "",
        "env: Too many: 513: must have at most 512 items", None,
    ),
)  # fmt: skip

APART = (
    Refusal(
        "disaggregation of a worker", service(disaggregation={"connector": "nixl"}), "spec.disaggregation", None,
        "write a prefiller and a decoder instead of the worker",
    ),
    Refusal(
        "minUncachedPromptTokens 0",
        service(prefiller(), decoder(), disaggregation={"minUncachedPromptTokens": 0}),
        "spec.disaggregation.minUncachedPromptTokens", "should be greater than or equal to 1", ">= 1",
    ),
    Refusal(
        "whenNoPrefiller of another word",
        service(prefiller(), decoder(), disaggregation={"whenNoPrefiller": "Wait"}),
        "spec.disaggregation.whenNoPrefiller", 'Unsupported value: "Wait"', "Invalid enum value 'Wait'",
    ),
)  # fmt: skip

REFUSALS: tuple[Refusal, ...] = (
    *APART,
    *TOPOLOGY,
    *NAMES,
    *COUNTS,
    *ROLLOUT,
    *UNKNOWN,
    *TEMPLATES,
    *ROUTERS,
    *GATEWAYS,
    *GANGS,
    *SIZES,
)


# --- accepted -----------------------------------------------------------------------------------------------------

MONOLITHIC = service(
    role(
        replicas=2,
        template=template(
            args=["--model", "Qwen/Qwen3-8B", "--port", "8000"],
            ports=[{"containerPort": 8000, "name": "http"}],
            resources={"limits": {"nvidia.com/gpu": 1}},
            env=[{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}],
        ),
    )
)
"""The proposal's first story: one worker, two copies."""

DISAGGREGATED = service(
    router(),
    prefiller(replicas=2, multinode={"nodeCount": 4}),
    decoder(multinode={"nodeCount": 2}),
    schedulingStrategy={"schedulerName": "volcano"},
)
"""The proposal's second story: prefill and decode apart, over several nodes, in one gang, behind a router."""

EVERYTHING = service(
    {
        **router(replicas=1),
        "scorers": [{"type": "queue-scorer", "weight": 2}],
        "pickerRelease": "llm-d-inference-scheduler-0.7",
        "httproute": {"hostnames": ["a.example"], "rules": [{"timeouts": {}}]},
        "gateway": {"gatewayClassName": "envoy", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
        "template": pods({"name": "epp", "resources": {"requests": {"cpu": "4"}}}),
    },
    prefiller(),
    decoder(
        engine="vllm",
        replicas=2,
        multinode={"nodeCount": 2, "backend": "mp", "workerTemplate": template()},
        rolloutStrategy=rolling(maxUnavailable=1, maxSurge=0, partition=0),
        progressDeadlineSeconds=3600,
        metadata={"labels": {"kueue.x-k8s.io/queue-name": "research"}, "annotations": {"a": "b"}},
    ),
    paused=False,
    schedulingStrategy={
        "schedulerName": "volcano",
        "queue": "research",
        "priorityClassName": "high",
        "networkTopology": {"mode": "hard", "highestTierAllowed": 2},
        "gang": {"mode": "All", "minReplicas": {"prefill-servers": 1, "decode-servers": 1}},
    },
    disaggregation={"connector": "nixl", "minUncachedPromptTokens": 16, "whenNoPrefiller": "DecodeLocally"},
)
"""The design's typed example: every field that there is, but for what stands instead of another."""

AMOUNTS = {"cpu": 0.5, "memory": "80Gi", "ephemeral-storage": "1e3", "hugepages-2Mi": 0, "nvidia.com/gpu": 8}

ACCEPTED: tuple[Accepted, ...] = (
    Accepted("least", service()),
    Accepted("monolithic", MONOLITHIC),
    Accepted("disaggregated", DISAGGREGATED),
    Accepted("everything", EVERYTHING),
    Accepted(
        "a picker's config of one's own, a gateway of others",
        service(role(), own_config(httproute={"parentRefs": [{"name": "gateway"}]})),
    ),
    Accepted("only the proposal's other spellings", service(role(roleReplicas=2, podReplicas=4))),
    Accepted(
        "both spellings, agreeing",
        service(role(replicas=2, roleReplicas=2, multinode={"nodeCount": 4}, podReplicas=4)),
    ),
    Accepted("no copies", service(role(replicas=0))),
    Accepted("one node said", service(role(multinode={"nodeCount": 1}))),
    Accepted("creationTimestamp null", service(role(template=with_metadata(creationTimestamp=None)))),
    Accepted(
        "template with a name and finalizers",
        service(role(template=with_metadata(name="x", labels={"a": "b"}, finalizers=["a.example/b"]))),
    ),
    Accepted("amounts as numbers", service(role(template=template(resources={"limits": AMOUNTS})))),
    Accepted(
        "port named and numbered",
        service(
            role(
                template=template(
                    livenessProbe={"httpGet": {"port": "http"}}, readinessProbe={"tcpSocket": {"port": 8000}}
                )
            )
        ),
    ),
    Accepted(
        "one port, two protocols",
        service(role(template=template(ports=[{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]))),
    ),
    Accepted("percent of surge", service(role(replicas=4, rolloutStrategy=rolling(maxSurge="25%")))),
    Accepted(
        "maxUnavailable 0 beside a surge",
        service(role(replicas=1, rolloutStrategy=rolling(maxUnavailable="0%", maxSurge=1))),
    ),
    Accepted("maxUnavailable 100%", service(role(rolloutStrategy=rolling(maxUnavailable="100%")))),
    Accepted("maxSurge 0 without replicas", service(role(rolloutStrategy=rolling(maxSurge="0%")))),
    Accepted(
        "maxSurge without replicas on several nodes",
        service(role(multinode={"nodeCount": 2}, rolloutStrategy=rolling(maxSurge=1))),
    ),
    Accepted("maxSurge with roleReplicas", service(role(roleReplicas=1, rolloutStrategy=rolling(maxSurge=1)))),
    Accepted("role named like a one-node role plus a number", service(prefiller("part"), decoder("part-1"))),
    Accepted(
        "role named like one of nodeCount 1 plus a number",
        service(prefiller("part", multinode={"nodeCount": 1}), decoder("part-1")),
    ),
    Accepted("role name begins with a digit", service(role("7b"))),
    Accepted("names as long as possible", service(role("r" * 25), name="s" * 25)),
    Accepted("router with no template", service(role(), router())),
    Accepted(
        "router with a partial template", service(role(), router(template={"spec": {"nodeSelector": {"a": "b"}}}))
    ),
    Accepted("router of no word", service(role(), without(router(), "strategy"))),
    Accepted("router with scorers", service(role(), router(scorers=[QUEUES]))),
    Accepted("router with a whole config", service(role(), own_config())),
    Accepted("router before the engines", service(router(), role())),
    Accepted("router of no pods", service(role(), router(replicas=0))),
    Accepted(
        "router whose containers need no image",
        service(role(), router(template=pods({"name": "epp", "resources": {}}, {"name": "envoy"}))),
    ),
    Accepted("router behind a gateway", service(role(), router(httproute=OF_A_GATEWAY))),
    Accepted("router with a gateway of its own", service(role(), router(gateway={"gatewayClassName": "istio"}))),
    Accepted(
        "router with a gateway of its own and a route",
        service(role(), router(gateway={"gatewayClassName": "istio"}, httproute={"hostnames": ["a.example"]})),
    ),
    Accepted("gang mode None without a scheduler", service(schedulingStrategy={"gang": {"mode": "None"}})),
    Accepted(
        "gang mode None with a scheduler that makes no gangs",
        service(schedulingStrategy={"schedulerName": "my-scheduler", "gang": {"mode": "None"}}),
    ),
    Accepted("volcano without a gang", service(schedulingStrategy=gang(gang={"mode": "None"}))),
    Accepted("gang that says nothing", service(schedulingStrategy=gang(gang={}))),
    Accepted("scheduler that makes no gangs", service(schedulingStrategy={"schedulerName": "my-scheduler"})),
    Accepted(
        "minReplicas of one role of two",
        service(
            prefiller(replicas=2),
            decoder(),
            schedulingStrategy=gang(gang={"mode": "MinReplicas", "minReplicas": {"prefill-servers": 2}}),
        ),
    ),
    Accepted(
        "minReplicas of a role that has no copies now",
        service(
            role(replicas=0), schedulingStrategy=gang(gang={"mode": "MinReplicas", "minReplicas": {"inference": 3}})
        ),
    ),
    Accepted(
        "minReplicas of a role whose copies others count",
        service(role(), schedulingStrategy=gang(gang={"mode": "MinReplicas", "minReplicas": {"inference": 3}})),
    ),
    Accepted("minReplicas beside gang mode All", service(schedulingStrategy=gang(gang={"minReplicas": {}}))),
    Accepted(
        "template of the gang's own scheduler",
        service(role(template=pods(engine(), schedulerName="volcano")), schedulingStrategy=gang()),
    ),
    Accepted(
        "template of another scheduler with gang mode None",
        service(
            role(template=pods(engine(), schedulerName="my-scheduler")),
            schedulingStrategy=gang(gang={"mode": "None"}),
        ),
    ),
    *(
        Accepted(f"{key} {where} without a gang", service(role_))
        for key in ("leaderworkerset.sigs.k8s.io/exclusive-topology", GROUP_NAME)
        for where, _, role_ in annotated(key)
    ),
    Accepted(
        "own group with gang mode None",
        service(
            role(template=with_metadata(annotations={GROUP_NAME: "mine"})),
            schedulingStrategy=gang(gang={"mode": "None"}),
        ),
    ),
    Accepted("256 KiB of arguments", service(role(template=template(args=["x" * KIB] * 256)))),
)
