"""What a cluster may have beside its node; a new part is a new entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testbed import crds, images, kwok, lws, places, router, vllm, volcano


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line."""

    gpu_nodes: int
    gpus_per_node: int


@dataclass(frozen=True, slots=True)
class Part:
    """Something that may be absent in a user's cluster too."""

    name: str
    meaning: str
    programs: tuple[str, ...]
    start: Callable[[Wishes], None]
    """Idempotent."""


PARTS = {
    part.name: part
    for part in (
        Part(
            "kwok", "nodes with GPUs that nobody has", ("kwok",),
            lambda wishes: kwok.start(wishes.gpu_nodes, wishes.gpus_per_node),
        ),
        Part(
            "sim", "the image of llm-d-inference-sim", ("llm-d-inference-sim",),
            lambda _: images.load(images.simulator()),
        ),
        Part(
            "lws", "LeaderWorkerSet, installed from its own manifests", ("lws",),
            lambda _: lws.start(),
        ),
        Part(
            "vllm", "the image of a real vLLM on the CPU, with a tiny model", (),
            lambda _: vllm.start(),
        ),
        Part(
            "volcano", "Volcano's scheduler and controllers, for gangs", (volcano.SCHEDULER, volcano.CONTROLLERS),
            lambda _: volcano.start(),
        ),
        Part(
            "router", "the images of the Endpoint Picker, of Envoy and of the decode sidecar",
            (router.PICKER, router.SIDECAR),
            lambda _: router.start(),
        ),
        Part(
            "inference-crds", "InferencePool and the other kinds that the picker reads", (),
            lambda _: crds.start(crds.INFERENCE),
        ),
        Part(
            "gateway-crds", "the kinds of the Gateway API, without any gateway", (),
            lambda _: crds.start(crds.GATEWAY),
        ),
    )
}  # fmt: skip

_RECORDS = places.STATE / "parts"


def remember(name: str) -> None:
    _RECORDS.mkdir(exist_ok=True)
    (_RECORDS / name).touch()


def remembered() -> list[str]:
    """The parts that the running cluster has."""
    return sorted(record.name for record in _RECORDS.glob("*"))
