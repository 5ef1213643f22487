"""Releases of the Endpoint Picker that we know: one YAML file each in this folder, gathered from its source.

A release says how the picker is started, what it reads, which config it takes, and which plug-ins it has with which
parameters. To add one, add a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import yaml

from fusioninfer.build.router.releases.shapes import unknown_words

DEFAULT = "llm-d-inference-scheduler-0.7"
"""The newest that the test suite runs."""

Slot = Literal[
    "filter",
    "scorer",
    "picker",
    "profile-handler",
    "decider",
    "producer",
    "data-source",
    "extractor",
    "discovery",
    "parser",
    "screener",
    "admission",
    "request-header",
    "pre-request",
    "response",
    "fairness-policy",
    "ordering-policy",
    "usage-limit-policy",
    "saturation-detector",
    "eviction-filter",
    "eviction-order",
]
"""A place in the picker that a plug-in can take; the words are ours, as releases differ in theirs."""


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What stands in a release's file; a field that is not known is a mistake there."""


class Checked(_Data, frozen=True):
    """Why we believe what the file says."""

    how: Literal["run", "catalogue"]
    """run: our tests start this release. catalogue: its configs are checked against what the file says, no more."""
    day: str
    """When, such as 2026-11-24."""
    source: str
    """What was read."""


class Rule(_Data, frozen=True):
    """A rule of a Role, for what the picker reads."""

    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...] = ("get", "list", "watch")


class Reads(_Data, frozen=True):
    """One kind that the picker watches."""

    resource: str
    group: str
    when: Literal["always", "pool", "installed"]
    """pool: if it is told a pool's name, and it does not start without this kind. installed: then too, and if it is
    there when the picker starts."""


class Flags(_Data, frozen=True):
    """The picker's arguments; {config}, {namespace}, {pool}, {selector} and {port} stand for what is put in."""

    always: tuple[str, ...]
    standalone: tuple[str, ...]
    """For an Envoy in the same pod. Gateways ask from other nodes, by TLS with a certificate that the picker makes."""
    pool: tuple[str, ...]
    """How it is told the InferencePool whose pods it picks among."""
    selector: tuple[str, ...] = ()
    """How it is told these pods by label and port, without a pool; empty: it cannot do without."""
    pod_name: str | None = None
    """The environment variable in which it then looks for its own pod's name."""


class Ports(_Data, frozen=True):
    """Where it listens, as `flags` tells it."""

    ext_proc: int
    health: int
    metrics: int


class Metrics(_Data, frozen=True):
    """How it reads the engines' metrics, on which most scorers depend."""

    default: str
    """The engine whose metrics it looks for if nothing is said."""
    engines: dict[str, str]
    """The engines whose metrics it knows: our name, and its own."""
    engine_label: str
    """The pods' label with their engine's name."""
    source: str
    extractor: str
    """The plug-ins that read and understand them; they must be written if another engine's are to be read."""
    section: str
    """The config's section in which those two are put together."""
    gate: str | None = None
    """The feature gate without which that section is not read."""


class Gate(_Data, frozen=True):
    """A feature gate."""

    section: str | None = None
    """The config's section that must be there with it."""


class SidecarOf(_Data, frozen=True):
    """The sidecar of decoders that goes with a picker."""

    image: str
    flags: tuple[str, ...]
    """Its arguments; {port}, {enginePort} and {protocol} stand for what is put in."""
    protocols: tuple[str, ...]
    """How it can have the KV cache handed over."""
    env: dict[str, str] = msgspec.field(default_factory=dict)

    def arguments(self, *, port: int, engine_port: int, protocol: str) -> tuple[str, ...]:
        """Its arguments: it answers at `port`, for the engine at `engine_port`."""
        values = {"port": port, "enginePort": engine_port, "protocol": protocol}
        return tuple(word.format_map(values) for word in self.flags)


class Sides(_Data, frozen=True):
    """The pods' label by which its filters tell prefillers from decoders."""

    label: str
    prefiller: str
    decoder: str


class Config(_Data, frozen=True):
    """Which EndpointPickerConfig it takes. `plugins`, `schedulingProfiles` and `featureGates` are in all of them."""

    api_versions: tuple[str, ...]
    """Those that it reads; the first is the one to write."""
    kind: str
    gates: dict[str, Gate]
    gates_take_values: bool
    """Whether `name=false` is a gate's spelling too."""
    sections: dict[str, Any]
    """The other sections, and their shapes."""
    adds: dict[Slot, str]
    """What it adds by itself if the config has nothing for a slot: a plug-in's type. A profile without a picker gets
    the picker of the config, or this one; a config without profiles gets one, of all its filters, scorers, pickers."""
    always: tuple[str, ...]
    """Plug-ins that it makes as they are needed: they can be referred to by their types without being written."""
    refers_back: bool
    """Whether a plug-in's parameters can only refer to plug-ins written before it."""


class Labels(_Data, frozen=True):
    """What a plug-in with a label selector of its own looks for on pods."""

    key: str
    values: tuple[str, ...]
    is_unlabelled_taken: bool = False


class Plugin(_Data, frozen=True):
    """One plug-in type that the picker registers."""

    slots: tuple[Slot, ...]
    parameters: Any = msgspec.field(default_factory=dict)
    """Their shape."""
    older_parameters: Any = None
    """Another shape, which does not go together with `parameters`."""
    required: tuple[str, ...] = ()
    """Parameters that must not be empty: a path, or several with `or` between them."""
    unknown: Literal["ignored", "refused"] | None = None
    """What it does with parameters that it does not know; None: as most of its release."""
    labels: Labels | None = None
    gate: str | None = None
    """The feature gate without which it does nothing, or is refused."""
    only_profile: bool = False
    """A profile handler for exactly one profile."""
    deprecated: str | None = None
    """What to write instead."""
    experimental: bool = False


class Release(_Data, frozen=True):
    """One release of the Endpoint Picker."""

    name: str
    """What users write in pickerRelease."""
    version: str
    image: str
    checked: Checked
    flags: Flags
    ports: Ports
    health_service: str
    """What its gRPC health check is asked for. While no leader is elected it makes no difference to the answer, which
    is NOT_SERVING, also for liveness, as long as the picker knows no pool."""
    reads: tuple[Reads, ...]
    metrics: Metrics
    sidecar: SidecarOf
    sides: Sides
    config: Config
    unknown_parameters: Literal["ignored", "refused"]
    """What most of its plug-ins do with a parameter that they do not know."""
    plugins: dict[str, Plugin]

    @property
    def needs_pool(self) -> bool:
        """Whether it starts only with an InferencePool, and so needs the CRD even if no gateway asks for one."""
        return not self.flags.selector

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What it must be allowed to read, in its own namespace."""
        groups: dict[str, list[str]] = {}
        for read in self.reads:
            groups.setdefault(read.group, []).append(read.resource)
        return tuple(Rule((group,), tuple(names)) for group, names in groups.items())

    @property
    def required_crds(self) -> tuple[str, ...]:
        """Names of the CRDs without which it does not start."""
        needed = ("always", "pool") if self.needs_pool else ("always",)
        return tuple(f"{read.resource}.{read.group}" for read in self.reads if read.group and read.when in needed)

    def arguments(
        self,
        *,
        config: str,
        namespace: str,
        pool: str | None = None,
        selector: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> tuple[str, ...]:
        """The picker's arguments: among the pods of `pool`, or among those with the labels `selector`, at `port`.

        Raises ValueError for a selector if the release needs a pool.
        """
        if pool is None and self.needs_pool:
            raise ValueError(f"{self.name} picks among the pods of an InferencePool only")
        values = {
            "config": config,
            "namespace": namespace,
            "pool": pool,
            "selector": ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())),
            "port": port,
        }
        where = self.flags.selector if pool is None else self.flags.pool
        return tuple(word.format_map(values) for word in (*where, *self.flags.always))

    def of_slot(self, slot: Slot) -> tuple[str, ...]:
        """The types of plug-ins for `slot`, those to be used no more left out."""
        return tuple(name for name, known in self.plugins.items() if slot in known.slots and not known.deprecated)


@cache
def releases() -> Mapping[str, Release]:
    """Every release, by name."""
    files = sorted(resources.files(__name__).iterdir(), key=lambda file: file.name)
    found = [decoded(file.read_text()) for file in files if file.name.endswith(".yaml")]
    return MappingProxyType({release.name: release for release in found})


def decoded(text: str) -> Release:
    """The release that a file's `text` describes; raises ValueError for a mistake in it."""
    release = msgspec.convert(yaml.safe_load(text), Release)
    shapes = [release.config.sections]
    for known in release.plugins.values():
        shapes += [known.parameters, known.older_parameters or {}]
    if wrong := sorted({word for shape in shapes for word in unknown_words(shape)}):
        raise ValueError(f"{release.name}: no such kind of value: {', '.join(wrong)}")
    return release
