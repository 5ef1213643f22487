"""GPUs that are asked for, against those that are free."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fusioninfer.cli.devices import BoundPod, Need, Node, against, asked, needs
from tests import make

GPU = "nvidia.com/gpu"
KEY = ("default", "qwen")


def node(name: str, gpus: int, *, ready: bool = True, cordoned: bool = False) -> Node:
    status = {
        "allocatable": {GPU: str(gpus), "cpu": "8"},
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    return msgspec.convert({"metadata": {"name": name}, "spec": {"unschedulable": cordoned}, "status": status}, Node)


def bound(where: str, gpus: int, service: str = "other", phase: str = "Running") -> BoundPod:
    metadata = {"name": "x", "namespace": "default", "labels": {"fusioninfer.io/service": service}}
    container = {"name": "engine", "resources": {"limits": {GPU: gpus}}}
    return msgspec.convert(
        {"metadata": metadata, "spec": {"nodeName": where, "containers": [container]}, "status": {"phase": phase}},
        BoundPod,
    )


def sentence(total: list[Need], nodes: list[Node], pods: list[BoundPod]) -> str:
    (words,) = against(total, nodes, pods, KEY)
    return words


PAIR = [node("a", 8), node("b", 8)]
TWO_OF_EIGHT = [Need(GPU, Decimal(8), 2)]


@pytest.mark.parametrize(
    ("nodes", "pods", "words"),
    [
        pytest.param(PAIR, [], "holds 0 now; 16 are free on 2 nodes: enough", id="enough"),
        pytest.param(PAIR, [bound("a", 2)], "14 are free on 2 nodes: 2 short", id="others' pods"),
        pytest.param(
            PAIR, [bound("a", 8, "qwen")], "holds 8 now; 8 are free on 1 node: enough", id="its own"
        ),
        pytest.param([node("a", 8), node("b", 8, cordoned=True)], [], "8 are free on 1 node: 8 short", id="cordoned"),
        pytest.param([node("a", 8), node("b", 8, ready=False)], [], "8 are free on 1 node: 8 short", id="down"),
        pytest.param(PAIR, [bound("a", 8, phase="Succeeded")], "16 are free", id="ended"),
        pytest.param(
            [node(name, 4) for name in "abcd"], [], "on 4 nodes, but none of them has 8 for one pod", id="split"
        ),
        pytest.param(
            PAIR, [bound("a", 8, "qwen"), bound("b", 8, "qwen")],
            "holds 16 now; 0 are free on 0 nodes", id="all its own",
        ),
    ],
)  # fmt: skip
def test_what_is_free(nodes: list[Node], pods: list[BoundPod], words: str) -> None:
    told = sentence(TWO_OF_EIGHT, nodes, pods)

    assert told.startswith(f"asks for 16 {GPU} (2 pods x 8), ")
    assert words in told


def test_all_pods_of_all_engine_roles_count() -> None:
    limits: dict[str, Any] = {"resources": {"limits": {GPU: 4, "cpu": 2}}}
    prefiller, decoder = make.prefill_and_decode((2, 1), (2, 1), **limits)

    needed = needs(make.desired(prefiller, decoder), {"prefill": 2, "decode": 1})

    assert asked(needed) == f"20 {GPU} (5 pods x 4)"


def test_no_copies_need_nothing() -> None:
    limits: dict[str, Any] = {"resources": {"limits": {GPU: 4}}}
    role = make.a_role(replicas=0, template=make.a_template(make.a_container(**limits)))

    assert needs(make.desired(role), {"inference": 0}) == ()
