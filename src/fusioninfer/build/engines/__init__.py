"""Engines: what each of them needs to know about its own pods, behind one small Protocol.

An engine is found by the entry-point group `fusioninfer.engines`; the built-in ones are its first users,
and a third party adds one in a file of its own (`examples/plugins/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from fusioninfer.api.service import InvalidSpec, Manifest, Role

GROUP = "fusioninfer.engines"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a container is believed to run an engine."""

    words: str
    """Such as "the command is `vllm serve`"."""
    is_sure: bool = True
    """False if only the image's name says so: the user is told then what was assumed."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What answers in place of a decoder's engine, and has a prefiller compute the prompt first if it is told so."""

    port: int
    """Where it answers: the service's serving port."""
    protocol: str
    """How it has the KV cache handed over, as the sidecar calls it: nixlv2, sglang and others."""
    env: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True)
class Transfer:
    """How a prefiller or a decoder hands the KV cache over, as far as its words say."""

    connector: str
    """As the engine calls it; one for both sides."""
    shared: Mapping[str, str | None] = field(default_factory=dict)
    """What must be the same on both sides, by what users write it with; None: its value cannot be told."""
    divisible: Mapping[str, int | None] = field(default_factory=dict)
    """Sizes of which one side's must divide the other's, in the same way."""
    answers_alone: bool = True
    """Whether a decoder answers a prompt that no prefiller has computed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How one process of an engine is started and watched.

    `args` are whole: what the user wrote, as it stands, and what the engine needs after it. The rest is added where
    the user wrote nothing.
    """

    port: int | None
    """Where it answers HTTP; None: it answers nobody, and so has no ports and no probes."""
    args: tuple[str, ...]
    command: tuple[str, ...] | None = None
    """The container's command; None: as written, mostly none, so that the image says."""
    alive: Manifest | None = None
    """The liveness and start-up probe, such as {"httpGet": {...}, "timeoutSeconds": 20}; None: no such probes."""
    ready: Manifest | None = None
    """The readiness probe."""
    env: tuple[Manifest, ...] = ()
    needs_shared_memory: bool = False
    """Processes of one pod talk through /dev/shm, of which a container has 64 MiB by default."""
    warnings: tuple[str, ...] = ()
    """What looks like a mistake and may be none; for the user to read."""
    transfer: Transfer | None = None
    """Of a prefiller or a decoder; None: nothing is known of it, and the user's template must see to it."""
    sidecar: Sidecar | None = None
    """Of a decoder: what stands before `port` in its pod."""

    @property
    def serving_port(self) -> int | None:
        """Where the pod answers HTTP."""
        return self.port if self.sidecar is None else self.sidecar.port


class Engine(Protocol):
    """One kind of inference server."""

    @property
    def name(self) -> str:
        """The word that users write in `engine`."""
        ...

    def evidence(self, container: Manifest) -> Evidence | None:
        """Why this container runs this engine; None if it does not look so."""
        ...

    def leader(self, container: Manifest, role: Role) -> Launch:
        """The process that answers: the only one of a copy on one node, else the first of `role.nodes_per_replica`.

        Of a prefiller or a decoder it hands the KV cache over by `role.connector`, or by the engine's own default
        (`apart.handing_over`). Raises InvalidSpec for what cannot work, with what to write instead.
        """
        ...

    def worker(self, container: Manifest, role: Role) -> Launch:
        """Each other process of a copy on several nodes; `container` is the leader's.

        Raises InvalidSpec if there is no way to derive it.
        """
        ...


Engines = Mapping[str, Engine]
"""The engines that are installed, by name."""


@dataclass(frozen=True, slots=True)
class Found:
    """The engine of a role, the container that runs it, and why we think so."""

    engine: Engine
    container_name: str
    evidence: Evidence


@cache
def installed() -> Engines:
    """Every engine of the entry-point group; raises what a broken plug-in raises on import."""
    return {entry.name: entry.load() for entry in entry_points(group=GROUP)}


def found(role: Role, engines: Engines) -> Found:
    """The engine that `role` runs: what the user named, else what command, args or image show, else `custom`.

    Raises InvalidSpec if the named engine is not installed, if two engines claim the same role, or if there is a
    template for workers that the engine would not use.
    """
    found = _found(role, engines)
    if role.worker_template is not None and found.engine.name != "custom":
        raise InvalidSpec(
            f"{role.path}.multinode.workerTemplate",
            f"belongs to engine custom; {found.engine.name} derives the workers from template; remove it, or say "
            "engine: custom",
        )
    return found


def _found(role: Role, engines: Engines) -> Found:
    containers = role.template["spec"]["containers"]
    if role.engine is not None:
        if role.engine not in engines:
            known = ", ".join(sorted(engines))
            raise InvalidSpec(f"{role.path}.engine", f"{role.engine!r} is not installed; there are {known}")
        engine = engines[role.engine]
        container = next((c for c in containers if engine.evidence(c)), _by_name(containers))
        return Found(engine, container["name"], Evidence("spec.engine says so"))
    claims = [
        Found(engine, container["name"], evidence)
        for container in containers
        for engine in engines.values()
        if (evidence := engine.evidence(container))
    ]
    if not claims:
        nothing = Evidence("nothing in command, args or image names an engine", is_sure=False)
        return Found(engines["custom"], _by_name(containers)["name"], nothing)
    if len({claim.engine.name for claim in claims}) > 1:
        several = "; ".join(f"{c.engine.name} ({c.container_name}: {c.evidence.words})" for c in claims)
        raise InvalidSpec(f"{role.path}.engine", f"more than one engine is possible: {several}; name one")
    return claims[0]


def _by_name(containers: Sequence[Manifest]) -> Manifest:
    """The container called `engine`, else the first."""
    return next((c for c in containers if c["name"] == "engine"), containers[0])
