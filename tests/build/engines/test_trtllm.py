"""TensorRT-LLM on one node."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.engines import Launch
from fusioninfer.build.engines.trtllm import ENGINE
from tests import make

HEALTH = {"httpGet": {"path": "/health", "port": 8000}}


def a(**fields: Any) -> Manifest:
    return {"name": "engine", "image": "nvcr.io/nvidia/tensorrt-llm/release:1.2.0", **fields}


def leader(container: Manifest) -> Launch:
    return ENGINE.leader(container, make.role_of(container))


@pytest.mark.parametrize(
    ("container", "args"),
    [
        pytest.param(a(command=["trtllm-serve"], args=["qwen"]), ("qwen", "--host", "0.0.0.0"), id="reachable"),
        pytest.param(a(command=["trtllm-serve", "qwen"]), ("--host", "0.0.0.0"), id="no args"),
        pytest.param(a(command=["trtllm-serve", "qwen", "--host", "::"]), (), id="as the user says"),
        pytest.param(
            a(command=["mpirun", "--host", "a", "trtllm-serve"], args=["qwen"]), ("qwen", "--host", "0.0.0.0"),
            id="mpirun's flags are not its own",
        ),
        pytest.param(a(args=["qwen"]), ("qwen", "--host", "0.0.0.0"), id="the image's entry point"),
        pytest.param(a(), (), id="the image's own args stay"),
        pytest.param(a(command=["sh", "-c", "trtllm-serve qwen"]), (), id="in a shell"),
    ],
)  # fmt: skip
def test_one_node(container: Manifest, args: tuple[str, ...]) -> None:
    assert leader(container) == Launch(port=8000, args=args, alive=HEALTH, ready=HEALTH)


def test_the_port_is_the_servers() -> None:
    container = a(command=["mpirun", "--port", "1", "trtllm-serve", "qwen", "--port", "2"])

    assert leader(container).port == 2
    assert leader(container).ready == {"httpGet": {"path": "/health", "port": 2}}


@pytest.mark.parametrize(
    ("container", "shares"),
    [
        (a(command=["trtllm-serve", "qwen", "--tp_size", "2"]), True),
        (a(command=["trtllm-serve", "qwen", "--pp_size=2"]), True),
        (a(command=["trtllm-serve", "qwen"], resources={"limits": {"nvidia.com/gpu": 2}}), True),
        (a(command=["trtllm-serve", "qwen"], resources={"limits": {"nvidia.com/gpu": "1"}}), False),
    ],
)
def test_several_processes_share_memory(container: Manifest, shares: bool) -> None:
    assert leader(container).needs_shared_memory is shares


SEVERAL_NODES = (
    "spec.roles[0].multinode.nodeCount: 2: the nodes of trtllm are one MPI world, for which mpirun needs sshd and keys "
    "in the image; write 1, or engine: custom with multinode.workerTemplate, which may use $(LWS_LEADER_ADDRESS) and "
    "$(LWS_WORKER_INDEX)"
)


def test_several_nodes_are_refused_with_the_reason() -> None:
    container = a(command=["trtllm-serve", "qwen"])
    role = make.role_of(container, nodes=2)

    with pytest.raises(InvalidSpec) as refusal:
        ENGINE.leader(container, role)
    assert str(refusal.value) == SEVERAL_NODES
    with pytest.raises(InvalidSpec) as refusal:
        ENGINE.worker(container, role)
    assert str(refusal.value) == SEVERAL_NODES


def test_there_is_no_backend_to_choose() -> None:
    container = a(command=["trtllm-serve", "qwen"])
    with pytest.raises(InvalidSpec, match="'mpi': trtllm has no backends; remove it"):
        ENGINE.leader(container, make.role_of(container, nodes=2, backend="mpi"))
