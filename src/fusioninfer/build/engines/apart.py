"""What holds for every engine whose prompts and answers are computed apart: who listens where, what must fit.

A decoder's pod answers by a sidecar. It owns the serving port, so that the pods of both sides answer on the same one
and a router that comes later restarts nobody; the engine behind it listens on a port of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fusioninfer.api import hashes
from fusioninfer.api.service import Disaggregation, InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Launch, Sidecar, Transfer

ENGINE_PORT = 8200
"""Where a decoder's engine listens behind its sidecar, or the next one that is free: llm-d's own default."""
MIN_UNCACHED_PROMPT_TOKENS = 16
"""If the user does not say it: one block of vLLM's cache; what has fewer is computed sooner than handed over."""


def is_apart(role: Role) -> bool:
    """Whether the role computes prompts or answers only."""
    return role.component_type in ("prefiller", "decoder")


def handing_over(
    launch: Launch, role: Role, transfer: Transfer, protocol: str, sidecar_env: tuple[Manifest, ...] = ()
) -> Launch:
    """`launch` of the process of a prefiller or a decoder that answers, for an engine that takes `--port`.

    A decoder's engine makes way for a sidecar that speaks `protocol`: it is told another port after all of the user's
    words, since the last one counts.
    """
    if role.component_type != "decoder" or launch.port is None:
        return replace(launch, transfer=transfer)
    port = engine_port(launch.port, role)
    return replace(
        launch,
        port=port,
        args=(*launch.args, "--port", str(port)),
        alive=None if launch.alive is None else moved(launch.alive, {launch.port}, port),
        ready=None if launch.ready is None else moved(launch.ready, {launch.port}, port),
        transfer=transfer,
        sidecar=Sidecar(launch.port, protocol, sidecar_env),
    )


def engine_port(serving: int, role: Role) -> int:
    """The first port from ENGINE_PORT on that is neither the serving one nor declared by a container of the pod."""
    spec = role.template["spec"]
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    taken = {port.get("containerPort") for container in containers for port in container.get("ports") or ()}
    return next(port for port in range(ENGINE_PORT, 65536) if port != serving and port not in taken)


def moved(handler: Manifest, ports: set[int | str], to: int) -> Manifest:
    """A probe, or what a hook does, that asks one of `ports`, by number or name; it asks `to` instead."""
    return {kind: _asking(how, ports, to) if kind in _ASKS else how for kind, how in handler.items()}


_ASKS = ("httpGet", "tcpSocket", "grpc")


def _asking(how: Any, ports: set[int | str], to: int) -> Any:
    return {**how, "port": to} if isinstance(how, Mapping) and how.get("port") in ports else how


# --- both sides ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """A prefiller's or a decoder's role: what it runs, and how it hands the KV cache over."""

    role: Role
    engine: str
    transfer: Transfer | None


def check_sides(sides: Sequence[Side]) -> None:
    """Raises InvalidSpec if prefillers and decoders cannot understand each other, as far as their words say."""
    for side in sides:
        if side.transfer is None and side.role.connector is not None:
            raise InvalidSpec(
                "spec.disaggregation.connector",
                f"{side.role.connector!r}: engine {side.engine} is told nothing of it, its template must see to the "
                "transfer; remove it",
            )
    for one, other in _pairs(sides):
        if one.engine != other.engine:
            raise InvalidSpec(
                f"{other.role.path}.engine",
                f"{other.engine} of role {other.role.name!r} cannot take the KV cache of {one.engine}, which role "
                f"{one.role.name!r} runs; run one engine in both",
            )
        if one.transfer is not None and other.transfer is not None:
            _check_transfers(one.role, one.transfer, other.role, other.transfer)


def min_uncached_prompt_tokens(said: Disaggregation | None, sides: Sequence[Side]) -> int | None:
    """The tokens that a prompt must have beyond what its decoder has cached to be computed by a prefiller.

    None: every prompt is, since decoders compute none. Raises InvalidSpec for what cannot be kept: a request for which
    no prefiller is ready goes to the decoder alone in every release of the picker, and fails if that cannot answer.
    """
    if said is None:
        return None
    least = said.min_uncached_prompt_tokens
    if any(side.transfer is not None and not side.transfer.answers_alone for side in sides):
        compute = f"decoders of {sides[0].engine} compute no prompt"
        if least is not None:
            raise InvalidSpec(
                "spec.disaggregation.minUncachedPromptTokens", f"{least}: {compute}, however short; remove it"
            )
        _check_when_no_prefiller(said, "Fail", compute)
        return None
    _check_when_no_prefiller(
        said, "DecodeLocally", "no release of the picker lets a request fail that a decoder can answer alone"
    )
    return MIN_UNCACHED_PROMPT_TOKENS if least is None else least


def _check_when_no_prefiller(said: Disaggregation, only: str, why: str) -> None:
    if said.when_no_prefiller not in (None, only):
        raise InvalidSpec(
            "spec.disaggregation.whenNoPrefiller", f"{said.when_no_prefiller}: {why}; write {only}, or remove it"
        )


def kv_revision(image: str, transfer: Transfer) -> str:
    """A short hash that two roles have in common if one can take the KV cache of the other, as far as can be told.

    Of the image, since both sides must run the same version; the connector; and what both sides share, such as model
    and dtype. Not of parallel sizes: they may differ between the sides, and `check_sides` refuses those that could not
    be mapped onto each other, so that a service has one revision at a time.
    """
    return hashes.of([image, transfer.connector, transfer.shared])


def _pairs(sides: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    """Every prefiller with every decoder: requests of any decoder may go to any prefiller."""
    for one in sides:
        for other in sides:
            if one.role.component_type == "prefiller" and other.role.component_type == "decoder":
                yield one, other


def _check_transfers(one: Role, its: Transfer, other: Role, others: Transfer) -> None:
    where = f"{other.path}.template.spec.containers"
    if its.connector != others.connector:
        raise InvalidSpec(
            where,
            f"role {other.name!r} takes the KV cache by {others.connector}, and role {one.name!r} gives it by "
            f"{its.connector}; write one connector in both, or in none and in spec.disaggregation.connector",
        )
    for word, value in its.shared.items():
        theirs = others.shared.get(word)
        if value is not None and theirs is not None and value != theirs:
            raise InvalidSpec(
                where,
                f"{word} is {theirs} in role {other.name!r} and {value} in role {one.name!r}; prefillers and "
                "decoders need the same: write it in both",
            )
    for word, size in its.divisible.items():
        size_there = others.divisible.get(word)
        if size and size_there and max(size, size_there) % min(size, size_there):
            raise InvalidSpec(
                where,
                f"{word} is {size_there} in role {other.name!r} and {size} in role {one.name!r}; {its.connector} needs "
                "one of the two to be a multiple of the other",
            )
