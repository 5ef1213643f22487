"""What users write: InferenceService field by field, as `kubectl explain` shows it, and the status that they read.

First page of the flow: `crd` turns these types into the CRD's schema, `parse` turns what fits them into
`service.InferenceService`, the meaning. Every field under `spec` is optional here unless it must be written,
and none has a default: defaults live in `parse`, so that GitOps sees no drift.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

GROUP = "fusioninfer.io"
VERSION = "v1alpha1"
KIND = "InferenceService"
PLURAL = "inferenceservices"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_ROLES = 16
MAX_REPLICAS = 100_000
MAX_NODES = 10_000
"""With MAX_REPLICAS: their product, the pods of a role, stays below 2³¹."""
MAX_CHILD_NAME = 51
"""`<svc>-<role>`: a StatefulSet's pods carry `<name>-<10 characters>` as a label (controller-revision-hash, ≤ 63)."""

MAX_TEMPLATE_BYTES = 256 * 1024
"""What a pod template may hold in strings: an LWS has two of them, and etcd takes 1.5 MiB."""
MAX_WORD_BYTES = 128 * 1024 - 1
"""One argument or variable: Linux starts no process with a longer one (MAX_ARG_STRLEN, binfmts.h)."""
MAX_CONTAINERS = 16
MAX_WORDS = {"command": 64, "args": 512, "env": 512}
"""Items of one container. With MAX_CONTAINERS and MAX_ROLES they bound what the API server estimates TEMPLATE_RULES to
cost; 640 instead of 512 is beyond its budget."""
MAX_ANNOTATIONS = 256

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_1035_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
OPEN_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
PERCENT = r"^(100|[1-9]?[0-9])%$"

IntOrPercent = Annotated[
    int | str, Meta(extra_json_schema={"x-kubernetes-int-or-string": True, "minimum": 0, "pattern": PERCENT})
]
"""The bounds are the CRD's alone, since `parse` has better words for them."""
Embedded = Annotated[dict[str, Any], Meta(extra_json_schema={"x-fusioninfer-embed": "PodTemplateSpec"})]
"""A PodTemplateSpec; `crd` puts the real schema in its place."""
Anything = Annotated[dict[str, Any], Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})]
StringMap = dict[str, Annotated[str, Meta(max_length=65536)]]

ComponentType = Literal["worker", "prefiller", "decoder", "router"]
WhenNoPrefiller = Literal["DecodeLocally", "Fail"]
GANG_SCHEDULERS = frozenset({"volcano"})
"""Names of schedulers that FusionInfer makes gangs for."""


def rules(*pairs: tuple[str, str], at: str | None = None) -> dict[str, Any]:
    """CEL rules with their messages, as the schema carries them.

    `at` is the field to blame, if it isn't the one on which they stand. The API server estimates the cost of each
    from maxItems and maxLength and refuses what is too dear, such as `matches` on a string without bound.
    """
    blamed = {} if at is None else {"fieldPath": at}
    return {"x-kubernetes-validations": [{"rule": rule, "message": message, **blamed} for rule, message in pairs]}


def joined(*several: dict[str, Any]) -> dict[str, Any]:
    """Rules that blame different fields, on one schema."""
    return {"x-kubernetes-validations": [rule for some in several for rule in some["x-kubernetes-validations"]]}


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Anything that users write."""


class NetworkTopology(Written, frozen=True):
    """How near to each other the pods of the gang must be."""

    mode: (
        Annotated[
            Literal["hard", "soft"],
            Meta(description="hard: wait until the pods fit within the tier; soft: prefer it."),
        ]
        | UnsetType
    ) = UNSET
    highestTierAllowed: (
        Annotated[int, Meta(description="The highest tier of the cluster's topology that the gang may span.", ge=1)]
        | UnsetType
    ) = UNSET


class Gang(Written, frozen=True):
    """How many pods must be able to start for any to start."""

    mode: (
        Annotated[
            Literal["All", "MinReplicas", "None"],
            Meta(
                description="All (the default): every engine pod of the service. MinReplicas: the copies named in "
                "minReplicas. None: no gang."
            ),
        ]
        | UnsetType
    ) = UNSET
    minReplicas: (
        Annotated[
            dict[str, Annotated[int, Meta(ge=0, le=MAX_REPLICAS)]],
            Meta(
                description="For mode MinReplicas: role name to the number of its copies that must fit; 1 for a role "
                "that is not named.",
                max_length=MAX_ROLES,
            ),
        ]
        | UnsetType
    ) = UNSET


_OF_A_GANG = ("queue", "priorityClassName", "networkTopology")

SCHEDULING_RULES = rules(
    (
        f"(has(self.schedulerName) && self.schedulerName in {sorted(GANG_SCHEDULERS)}) "
        f"|| !({' || '.join(f'has(self.{field})' for field in _OF_A_GANG)})",
        f"{', '.join(_OF_A_GANG)} belong to a gang, which needs schedulerName {' or '.join(sorted(GANG_SCHEDULERS))}",
    ),
    (
        f"(has(self.schedulerName) && self.schedulerName in {sorted(GANG_SCHEDULERS)}) "
        "|| !has(self.gang) || (has(self.gang.mode) && self.gang.mode == 'None')",
        f"a gang needs schedulerName {' or '.join(sorted(GANG_SCHEDULERS))}",
    ),
    (
        "!has(self.gang) || !has(self.gang.mode) || self.gang.mode != 'None' "
        f"|| !({' || '.join(f'has(self.{field})' for field in _OF_A_GANG)})",
        f"gang.mode None makes no gang that {', '.join(_OF_A_GANG)} could belong to; say them in the pod templates",
    ),
)


class SchedulingStrategy(Written, frozen=True):
    """Who places the pods, and whether they start together."""

    schedulerName: (
        Annotated[
            str,
            Meta(
                description="The scheduler of the engine pods. volcano makes all of them one gang; "
                "any other name just reaches the pods.",
                max_length=253,
                min_length=1,
            ),
        ]
        | UnsetType
    ) = UNSET
    queue: (
        Annotated[str, Meta(description="The queue that the gang is charged to.", max_length=253, min_length=1)]
        | UnsetType
    ) = UNSET
    priorityClassName: (
        Annotated[str, Meta(description="The PriorityClass of the gang.", max_length=253, min_length=1)] | UnsetType
    ) = UNSET
    networkTopology: NetworkTopology | UnsetType = UNSET
    gang: Gang | UnsetType = UNSET


class Disaggregation(Written, frozen=True):
    """What prefillers and decoders share, said once."""

    connector: (
        Annotated[
            str,
            Meta(
                description="How the KV cache gets from prefiller to decoder: nixl or mooncake, for vllm and sglang. "
                "nixl if absent; a connector in a role's own args wins.",
                pattern=OPEN_NAME,
                max_length=63,
            ),
        ]
        | UnsetType
    ) = UNSET
    minUncachedPromptTokens: (
        Annotated[
            int,
            Meta(
                description="router: prompts with fewer uncached tokens are not prefilled apart; 16 if absent. Not for "
                "engines whose decoders need a prefiller for every prompt.",
                ge=1,
                le=10_000_000,
            ),
        ]
        | UnsetType
    ) = UNSET
    whenNoPrefiller: (
        Annotated[
            WhenNoPrefiller,
            Meta(
                description="What happens to a request while no prefiller is ready; the engine's own way if absent. "
                "DecodeLocally: the decoder computes the prompt as well. Fail: the request fails."
            ),
        ]
        | UnsetType
    ) = UNSET


class Multinode(Written, frozen=True):
    """One copy that spans several nodes: a leader and its workers."""

    nodeCount: Annotated[
        int, Meta(description="Pods of one copy: 1 leader and nodeCount - 1 workers.", ge=1, le=MAX_NODES)
    ]
    backend: (
        Annotated[
            str,
            Meta(
                description="How the processes of one copy find each other: mp for vllm, its default; "
                "the other engines leave no choice.",
                pattern=OPEN_NAME,
                max_length=63,
            ),
        ]
        | UnsetType
    ) = UNSET
    workerTemplate: (
        Annotated[
            Embedded,
            Meta(
                description="The workers' pod template, for engine custom; the other engines derive it from "
                "the leader's."
            ),
        ]
        | UnsetType
    ) = UNSET


class RollingUpdate(Written, frozen=True):
    """How many copies may be missing or surplus while a change rolls, in LeaderWorkerSet's meaning."""

    maxUnavailable: (
        Annotated[
            IntOrPercent,
            Meta(
                description="Copies, or a percentage of them rounded down, that may be unavailable during "
                "the roll-out; 1 if absent, 0 if absent beside a maxSurge."
            ),
        ]
        | UnsetType
    ) = UNSET
    maxSurge: (
        Annotated[
            IntOrPercent,
            Meta(
                description="Copies, or a percentage of them rounded up, that are started beyond replicas "
                "before an old copy ends; 0 if absent."
            ),
        ]
        | UnsetType
    ) = UNSET
    partition: (
        Annotated[
            int,
            Meta(
                description="Only copies with this index or a higher one are updated; 0 if absent.",
                ge=0,
                le=MAX_REPLICAS,
            ),
        ]
        | UnsetType
    ) = UNSET


ROLLING_UPDATE_RULES = rules(
    (
        "!has(self.maxUnavailable) || !(self.maxUnavailable == 0 || self.maxUnavailable == '0%') "
        "|| (has(self.maxSurge) && !(self.maxSurge == 0 || self.maxSurge == '0%'))",
        "maxUnavailable 0 needs a maxSurge of at least 1: otherwise no copy could ever be replaced",
    ),
)


class RolloutStrategy(Written, frozen=True):
    """How a change of the role's template reaches its copies."""

    rollingUpdate: Annotated[RollingUpdate, Meta(extra_json_schema=ROLLING_UPDATE_RULES)] | UnsetType = UNSET


class RoleMetadata(Written, frozen=True):
    """Labels and annotations for the role's workload object (not its pods: those are in template.metadata)."""

    labels: Annotated[StringMap, Meta(description="Added to the workload's own labels.")] | UnsetType = UNSET
    annotations: Annotated[StringMap, Meta(description="Added to the workload's own annotations.")] | UnsetType = UNSET


class Scorer(Written, frozen=True):
    """One scorer of the Endpoint Picker and its weight."""

    type: Annotated[str, Meta(description="The scorer plug-in, for instance queue-scorer.", max_length=253)]
    weight: Annotated[int, Meta(description="Its weight among the scorers.", ge=0, le=1_000_000)]


class Role(Written, frozen=True):
    """One role of the service: engine copies of one kind, or the router in front of them."""

    name: Annotated[
        str,
        Meta(
            description="The role's name, unique in the service. Its objects are named SERVICE-ROLE.",
            pattern=DNS_LABEL,
            max_length=49,
            min_length=1,
        ),
    ]
    componentType: Annotated[
        ComponentType,
        Meta(
            description="worker: handles requests from prompt to answer. prefiller: computes the prompt's KV cache. "
            "decoder: generates tokens from a received KV cache. router: where requests enter."
        ),
    ]
    replicas: (
        Annotated[
            int,
            Meta(
                description="Independent copies. Given: kept at this number. Absent: starts at 1, and the workload's "
                "/scale belongs to HPA, KEDA or kubectl scale.",
                ge=0,
                le=MAX_REPLICAS,
            ),
        ]
        | UnsetType
    ) = UNSET
    roleReplicas: (
        Annotated[int, Meta(description="Another spelling of replicas.", ge=0, le=MAX_REPLICAS)] | UnsetType
    ) = UNSET
    multinode: Multinode | UnsetType = UNSET
    podReplicas: (
        Annotated[int, Meta(description="Another spelling of multinode.nodeCount.", ge=1, le=MAX_NODES)] | UnsetType
    ) = UNSET
    engine: (
        Annotated[
            str,
            Meta(
                description="The engine in the pods: vllm, sglang, trtllm, custom, or the name of a plug-in. "
                "Found from command, args or image if absent.",
                pattern=OPEN_NAME,
                max_length=63,
            ),
        ]
        | UnsetType
    ) = UNSET
    template: (
        Annotated[
            Embedded,
            Meta(
                description="The pods of the role. What is written here is never overwritten, only completed. "
                "For a router: merged over the picker's pod by container name."
            ),
        ]
        | UnsetType
    ) = UNSET
    rolloutStrategy: RolloutStrategy | UnsetType = UNSET
    progressDeadlineSeconds: (
        Annotated[
            int,
            Meta(
                description="Seconds without progress after which the role counts as failed; start-up probes follow "
                "it. 3600 if absent: loading a large model is slow.",
                ge=1,
                le=604_800,
            ),
        ]
        | UnsetType
    ) = UNSET
    metadata: RoleMetadata | UnsetType = UNSET
    strategy: (
        Annotated[
            str,
            Meta(
                description="router: how a pod is chosen for a request, for instance prefix-cache.",
                pattern=OPEN_NAME,
                max_length=63,
            ),
        ]
        | UnsetType
    ) = UNSET
    scorers: (
        Annotated[
            tuple[Scorer, ...],
            Meta(description="router: scorers and weights instead of the strategy's own.", max_length=32),
        ]
        | UnsetType
    ) = UNSET
    endpointPickerConfig: (
        Annotated[
            str,
            Meta(description="router: a whole EndpointPickerConfig instead of a strategy.", max_length=65536),
        ]
        | UnsetType
    ) = UNSET
    pickerRelease: (
        Annotated[
            str,
            Meta(description="router: the release of the Endpoint Picker.", pattern=OPEN_NAME, max_length=63),
        ]
        | UnsetType
    ) = UNSET
    httproute: (
        Annotated[
            Anything,
            Meta(description="router: the HTTPRouteSpec behind a gateway; backendRefs to the pool are filled in."),
        ]
        | UnsetType
    ) = UNSET
    gateway: (
        Annotated[Anything, Meta(description="router: a GatewaySpec to create, when none is referred to.")] | UnsetType
    ) = UNSET


ROLE_RULES = rules(
    (
        "!has(self.replicas) || !has(self.roleReplicas) || self.replicas == self.roleReplicas",
        "replicas and roleReplicas are two spellings of one thing and disagree: remove one",
    ),
    (
        "!has(self.multinode) || !has(self.podReplicas) || self.multinode.nodeCount == self.podReplicas",
        "multinode.nodeCount and podReplicas are two spellings of one thing and disagree: remove one",
    ),
    (
        "self.componentType == 'router' || (has(self.template) && has(self.template.spec) "
        "&& has(self.template.spec.containers) && size(self.template.spec.containers) > 0)",
        "template.spec.containers needs at least one container",
    ),
    (
        "self.componentType == 'router' || !(has(self.strategy) || has(self.scorers) || has(self.endpointPickerConfig) "
        "|| has(self.pickerRelease) || has(self.httproute) || has(self.gateway))",
        "strategy, scorers, endpointPickerConfig, pickerRelease, httproute and gateway belong to a router",
    ),
    (
        "self.componentType != 'router' || !(has(self.multinode) || has(self.podReplicas) || has(self.engine))",
        "a router has no engine and no nodes: remove multinode, podReplicas and engine",
    ),
    (
        "self.componentType == 'router' || has(self.replicas) || has(self.roleReplicas) "
        "|| (has(self.multinode) && self.multinode.nodeCount > 1) || (has(self.podReplicas) && self.podReplicas > 1) "
        "|| !has(self.rolloutStrategy) || !has(self.rolloutStrategy.rollingUpdate) "
        "|| !has(self.rolloutStrategy.rollingUpdate.maxSurge) "
        "|| self.rolloutStrategy.rollingUpdate.maxSurge == 0 || self.rolloutStrategy.rollingUpdate.maxSurge == '0%'",
        "maxSurge needs replicas on a role of one node: the surplus copy is lent by raising the StatefulSet's size, "
        "which without replicas belongs to somebody else",
    ),
)

SPEC_RULES = rules(
    (
        "self.roles.filter(r, r.componentType == 'worker').size() <= 1",
        "at most one worker; more copies of it are its replicas",
    ),
    ("self.roles.filter(r, r.componentType == 'router').size() <= 1", "at most one router"),
    (
        "self.roles.exists(r, r.componentType != 'router')",
        "one worker, or at least one prefiller and one decoder, are needed",
    ),
    (
        "!self.roles.exists(r, r.componentType == 'worker') "
        "|| !self.roles.exists(r, r.componentType in ['prefiller', 'decoder'])",
        "a worker handles whole requests and stands alone; remove it, or the prefillers and decoders",
    ),
    (
        "self.roles.exists(r, r.componentType == 'worker') "
        "|| self.roles.exists(r, r.componentType == 'prefiller') == self.roles.exists(r, r.componentType == 'decoder')",
        "prefillers and decoders need each other; for one kind alone use a worker",
    ),
    (
        "self.roles.all(r, !self.roles.exists(m, r.name.startsWith(m.name + '-') "
        "&& ((has(m.multinode) && m.multinode.nodeCount > 1) || (has(m.podReplicas) && m.podReplicas > 1)) "
        "&& r.name.substring(size(m.name) + 1).matches('^[0-9]+$')))",
        "a role may not be named like a multi-node role plus a number: LeaderWorkerSet makes such names",
    ),
    at=".roles",
)
GANG_RULES = rules(
    (
        "!has(self.schedulingStrategy) || !has(self.schedulingStrategy.gang) "
        "|| !has(self.schedulingStrategy.gang.minReplicas) || self.schedulingStrategy.gang.minReplicas.all(name, "
        "self.roles.exists(r, r.name == name && r.componentType != 'router'))",
        "each name in minReplicas must be that of an engine role",
    ),
    at=".schedulingStrategy",
)

SERVICE_RULES = rules(
    (
        f"self.metadata.name.matches('{DNS_1035_LABEL}')",
        "must be a DNS-1035 label (a-z, 0-9, '-', beginning with a letter): it names a Service",
    ),
    (
        f"self.spec.roles.all(r, size(self.metadata.name) + 1 + size(r.name) <= {MAX_CHILD_NAME})",
        f"together with a role's name it must have at most {MAX_CHILD_NAME - 1} characters: "
        "the two name the role's objects",
    ),
    at=".metadata.name",
)


def _bytes_of(containers: str) -> str:
    """CEL for the bytes that command, args and env hold in a list of containers of a pod template."""
    words = {"command": "word, size(word)", "args": "word, size(word)", "env": "e, has(e.value) ? size(e.value) : 0"}
    sizes = " + ".join(f"(has(c.{field}) ? c.{field}.map({size}).sum() : 0)" for field, size in words.items())
    return f"(has(self.spec.{containers}) ? self.spec.{containers}.map(c, {sizes}).sum() : 0)"


TEMPLATE_RULES = rules(
    (
        f"!has(self.spec) || {_bytes_of('containers')} + {_bytes_of('initContainers')} <= {MAX_TEMPLATE_BYTES}",
        f"command, args and the values in env may have {MAX_TEMPLATE_BYTES // 1024} KiB together; "
        "mount what is larger from a ConfigMap or a volume",
    ),
    (
        "!has(self.metadata) || !has(self.metadata.annotations) || self.metadata.annotations.map(key, "
        f"size(key) + size(self.metadata.annotations[key])).sum() <= {MAX_TEMPLATE_BYTES}",
        f"annotations may have {MAX_TEMPLATE_BYTES // 1024} KiB together",
    ),
)


class InferenceServiceSpec(Written, frozen=True):
    """How a model is served."""

    roles: Annotated[
        tuple[Annotated[Role, Meta(extra_json_schema=ROLE_RULES)], ...],
        Meta(
            description="One worker, or at least one prefiller and one decoder; and at most one router.",
            min_length=1,
            max_length=MAX_ROLES,
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    paused: Annotated[bool, Meta(description="true: nothing is changed any more; the status goes on.")] | UnsetType = (
        UNSET
    )
    schedulingStrategy: Annotated[SchedulingStrategy, Meta(extra_json_schema=SCHEDULING_RULES)] | UnsetType = UNSET
    disaggregation: Disaggregation | UnsetType = UNSET


class Condition(msgspec.Struct, frozen=True):
    """One thing that is so, is not so, or cannot be known, and why (meta/v1 Condition)."""

    type: Annotated[str, Meta(description="What is spoken of, for instance Ready.", max_length=316)]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it is so.")]
    reason: Annotated[str, Meta(description="The cause, in a word.", max_length=1024)]
    message: Annotated[str, Meta(description="The cause, in sentences.", max_length=32768)]
    lastTransitionTime: Annotated[
        str, Meta(description="When status last changed.", extra_json_schema={"format": "date-time"})
    ]
    observedGeneration: Annotated[int, Meta(description="The generation of the spec that this speaks of.")]


class Address(msgspec.Struct, frozen=True):
    """One way to the service."""

    name: Annotated[str, Meta(description="Which way this is.")]
    url: Annotated[
        str,
        Meta(description="Where the OpenAI API is served; without scheme and host where only the gateway knows them."),
    ]


class WorkloadReference(msgspec.Struct, frozen=True):
    """The object that runs a role's pods."""

    apiVersion: Annotated[str, Meta(description="Its group and version.")]
    kind: Annotated[str, Meta(description="StatefulSet, LeaderWorkerSet or Deployment.")]
    name: Annotated[str, Meta(description="Its name, in the service's namespace.")]


class LastFailure(msgspec.Struct, frozen=True):
    """The most recent failure of a container of the role, kept when its pod is gone."""

    time: Annotated[str, Meta(description="When the container ended.")]
    pod: Annotated[str, Meta(description="The pod, which may be gone.")]
    container: Annotated[str, Meta(description="The container in it.")]
    reason: Annotated[str, Meta(description="Why it ended, in a word of the kubelet's.")]
    message: Annotated[str, Meta(description="The container's last words, at most 1 KiB.", max_length=1024)]
    exitCode: Annotated[int, Meta(description="What it exited with; above 128: the signal plus 128.")]
    count: Annotated[int, Meta(description="Restarts of that container.")]


class Component(msgspec.Struct, frozen=True):
    """What is so of one role."""

    desiredReplicas: Annotated[int, Meta(description="Copies asked for.")]
    readyReplicas: Annotated[int, Meta(description="Copies of which every node is ready.")]
    updatedReplicas: Annotated[int, Meta(description="Copies that run the role's present template.")]
    nodesPerReplica: Annotated[int, Meta(description="Pods of one copy.")]
    totalPods: Annotated[int, Meta(description="Pods asked for: desiredReplicas × nodesPerReplica.")]
    readyPods: Annotated[int, Meta(description="Pods that are ready.")]
    phase: Annotated[
        Literal["Pending", "Deploying", "Running", "Failed", "Unknown"],
        Meta(description="Where the role stands, in a word."),
    ]
    reason: Annotated[str, Meta(description="The phase's cause, in a word.")]
    message: Annotated[str, Meta(description="The phase's cause, in a sentence.")]
    lastUpdateTime: Annotated[str, Meta(description="When a count or the phase last moved.")]
    workload: WorkloadReference | UnsetType = UNSET
    selector: Annotated[str, Meta(description="The label selector of the role's pods.")] | UnsetType = UNSET
    lastFailure: LastFailure | UnsetType = UNSET


class InferenceServiceStatus(msgspec.Struct, frozen=True):
    """What is so."""

    observedGeneration: Annotated[int, Meta(description="The generation of the spec that this status speaks of.")]
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            description="What is so of the whole, by type.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ]
    components: Annotated[dict[str, Component], Meta(description="What is so of each role, by its name.")]
    url: Annotated[str, Meta(description="Where the OpenAI API is served within the cluster.")] | UnsetType = UNSET
    addresses: (
        Annotated[
            tuple[Address, ...],
            Meta(
                description="All ways to the service.",
                extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | UnsetType
    ) = UNSET


class InferenceService(msgspec.Struct, frozen=True):
    """A large language model and how it is served: engine roles, their copies, gang, router, and their state."""

    spec: Annotated[InferenceServiceSpec, Meta(extra_json_schema=joined(SPEC_RULES, GANG_RULES))]
    status: InferenceServiceStatus | UnsetType = UNSET
