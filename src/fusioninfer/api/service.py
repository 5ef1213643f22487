"""What the user's words mean: InferenceService with every default filled in and every spelling resolved.

`parse` makes these values; everything after it knows only them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fusioninfer.api.types import ComponentType, WhenNoPrefiller

Manifest = dict[str, Any]
"""An object as it stands in YAML."""


class InvalidSpec(Exception):
    """The user must change the object: `field` is a path such as spec.roles[0].name, `problem` says what to do."""

    reason = "InvalidSpec"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def raised_by(checks: Iterable[Callable[[], object]]) -> Iterator[InvalidSpec]:
    """What each of `checks` raises; of one field only the first."""
    fields: set[str] = set()
    for check in checks:
        try:
            check()
        except InvalidSpec as refusal:
            if refusal.field not in fields:
                yield refusal
            fields.add(refusal.field)


@dataclass(frozen=True, slots=True)
class RollingUpdate:
    """How a change rolls over a role's copies, in LeaderWorkerSet's meaning; counts of copies."""

    max_unavailable: int | str = 1
    max_surge: int | str = 0
    partition: int = 0


@dataclass(frozen=True, slots=True)
class Role:
    """One role, all questions answered."""

    name: str
    component_type: ComponentType
    template: Manifest
    """The pod template as the user wrote it."""
    replicas: int | None
    """Copies; None: the workload's /scale belongs to somebody else."""
    nodes_per_replica: int = 1
    backend: str | None = None
    """How the processes of one copy find each other; None: the engine's own way."""
    worker_template: Manifest | None = None
    """The workers' pod template as the user wrote it, for engine custom; None: derived from `template`."""
    engine: str | None = None
    """The engine's name; None: to be found from the template."""
    connector: str | None = None
    """How prefillers and decoders hand the KV cache over, in the user's word; None: the engine's own default."""
    rolling_update: RollingUpdate = RollingUpdate()
    progress_deadline_seconds: int = 3600
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    input_hash: str = ""
    """Of everything that the user wrote and that shapes the pods: what decides whether they may be restarted."""
    path: str = "spec.roles[0]"
    """Where the role stands in the user's object, for messages."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """One of the scorers by which a pod is chosen, and its weight among them."""

    type: str
    weight: int


@dataclass(frozen=True, slots=True)
class Router:
    """Where requests enter: an Endpoint Picker and what sends each request to the pod that it picks."""

    name: str
    strategy: str | None = None
    """How a pod is chosen; None: `config` says it, or by default."""
    scorers: tuple[Scorer, ...] = ()
    """Instead of the strategy's own."""
    config: str | None = None
    """A whole EndpointPickerConfig, as text."""
    release: str | None = None
    """Of the Endpoint Picker; None: the default one."""
    replicas: int | None = 1
    """None: the Deployment's /scale belongs to somebody else."""
    template: Manifest | None = None
    """Partial, as the user wrote it."""
    route: Manifest | None = None
    """The HTTPRouteSpec by which a gateway leads here, as the user wrote it; None: an Envoy of the router's own does.
    Its parentRefs are there, unless there is a `gateway`."""
    gateway: Manifest | None = None
    """The GatewaySpec of a gateway to be made for it."""
    progress_deadline_seconds: int = 600
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    input_hash: str = ""
    path: str = "spec.roles[0]"


@dataclass(frozen=True, slots=True)
class NetworkTopology:
    """How near to each other the pods of a gang must be; None: as the gang scheduler has it."""

    mode: str | None = None
    highest_tier_allowed: int | None = None


@dataclass(frozen=True, slots=True)
class Gang:
    """The engine pods start together, or none of them does."""

    scheduler: str
    """Who sees to it."""
    min_replicas: Mapping[str, int] | None = None
    """By role, the copies that must fit for any pod to start; None: all copies of all roles."""
    queue: str | None = None
    priority_class_name: str | None = None
    network_topology: NetworkTopology | None = None

    def needed(self, role: str, replicas: int) -> int:
        """How many of the `replicas` copies of `role` must fit."""
        return replicas if self.min_replicas is None else min(self.min_replicas[role], replicas)


@dataclass(frozen=True, slots=True)
class Disaggregation:
    """How prompts and answers are computed apart, where the user says it; None: as the engine has it."""

    connector: str | None = None
    min_uncached_prompt_tokens: int | None = None
    """Prompts with fewer tokens that the decoder has not cached are left to the decoder."""
    when_no_prefiller: WhenNoPrefiller | None = None


@dataclass(frozen=True, slots=True)
class InferenceService:
    """One service, all questions answered."""

    name: str
    namespace: str
    uid: str
    generation: int
    roles: tuple[Role, ...]
    """The engine roles."""
    router: Router | None = None
    paused: bool = False
    scheduler_name: str | None = None
    gang: Gang | None = None
    disaggregation: Disaggregation | None = None
    """None: one worker computes prompts and answers."""

    @property
    def entry_roles(self) -> tuple[Role, ...]:
        """The roles whose pods answer whole requests."""
        return tuple(role for role in self.roles if role.component_type in ("worker", "decoder"))
