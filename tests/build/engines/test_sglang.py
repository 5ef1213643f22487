"""SGLang: what is added to its words, on one node and on several."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.engines import Launch
from fusioninfer.build.engines.sglang import ENGINE
from tests import make

SERVER = ["python3", "-m", "sglang.launch_server"]
HEALTH = {"httpGet": {"path": "/health", "port": 30000}}
POD_IP = {"name": "FUSIONINFER_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
WHERE = "spec.roles[0].template.spec.containers[engine]"


def a(*args: str, gpus: int = 0, **fields: Any) -> Manifest:
    """SGLang's server with `args`, in a pod of `gpus` GPUs."""
    resources = {"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}
    return {"name": "engine", "image": "x", "command": SERVER, "args": list(args), **resources, **fields}


def leader(container: Manifest, **role: Any) -> Launch:
    return ENGINE.leader(container, make.role_of(container, **role))


def worker(container: Manifest, **role: Any) -> Launch:
    return ENGINE.worker(container, make.role_of(container, **role))


def test_one_node() -> None:
    assert leader(a("--model-path", "qwen")) == Launch(
        port=30000,
        args=("--model-path", "qwen", "--host", "0.0.0.0", "--enable-metrics"),
        alive={**HEALTH, "timeoutSeconds": 20},
        ready={**HEALTH, "timeoutSeconds": 5},
    )


@pytest.mark.parametrize(
    ("container", "args"),
    [
        pytest.param(a("--host", "::"), ("--host", "::", "--enable-metrics"), id="as the user says"),
        pytest.param(
            a("--host=::", "--enable-metrics"), ("--host=::", "--enable-metrics"), id="all that is needed"
        ),
        pytest.param(
            {"name": "engine", "image": "lmsysorg/sglang", "args": ["--model-path", "qwen"]},
            ("--model-path", "qwen", "--host", "0.0.0.0", "--enable-metrics"), id="the image's entry point",
        ),
        pytest.param({"name": "engine", "image": "lmsysorg/sglang"}, (), id="the image's own args stay"),
        pytest.param(a(command=["sh", "-c", "sglang serve qwen"]), (), id="in a shell"),
        pytest.param(a("qwen", command=["/start"]), ("qwen",), id="another program"),
    ],
)  # fmt: skip
def test_what_is_appended_on_one_node(container: Manifest, args: tuple[str, ...]) -> None:
    assert leader(container).args == args


BASE = ("--model-path", "qwen", "--tp", "16")


def test_leader_of_two_nodes() -> None:
    assert leader(a(*BASE, gpus=8), nodes=2) == Launch(
        port=30000,
        args=(
            "--model-path", "qwen", "--tp", "16",
            "--host", "0.0.0.0", "--enable-metrics",
            "--nnodes", "2", "--node-rank", "0", "--dist-init-addr", "$(FUSIONINFER_POD_IP):20000",
        ),
        alive={**HEALTH, "timeoutSeconds": 20},
        ready={**HEALTH, "timeoutSeconds": 5},
        env=(POD_IP,),
        needs_shared_memory=True,
    )  # fmt: skip


def test_worker_of_two_nodes() -> None:
    assert worker(a(*BASE, gpus=8), nodes=2) == Launch(
        port=None,
        args=(
            "--model-path", "qwen", "--tp", "16",
            "--host", "0.0.0.0", "--enable-metrics",
            "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)",
            "--dist-init-addr", "$(LWS_LEADER_ADDRESS):20000",
        ),
        needs_shared_memory=True,
    )  # fmt: skip


@pytest.mark.parametrize("address", ["--dist-init-addr", "--nccl-init-addr", "--dist_init_addr"])
def test_a_user_who_says_how_nodes_find_each_other_is_left_alone(address: str) -> None:
    container = a(*BASE, "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)", address, "$(LWS_LEADER_ADDRESS):5000")
    expected = (*container["args"], "--host", "0.0.0.0", "--enable-metrics")

    assert leader(container, nodes=2).args == expected
    assert worker(container, nodes=2).args == expected
    assert leader(container, nodes=2).env == ()


@pytest.mark.parametrize(
    ("container", "nodes", "warnings"),
    [
        pytest.param(a("--tp", "8", gpus=8), 1, (), id="all are used"),
        pytest.param(a("--tp", "2", "--pp-size", "2", "--dp", "2", gpus=8), 1, (), id="copies side by side"),
        pytest.param(a("--tp", "8", "--dp-size", "8", "--enable-dp-attention", gpus=8), 1, (), id="shared attention"),
        pytest.param(a("--tp", "$(TP)", gpus=1), 2, (), id="not written out"),
        pytest.param(a("--config", "x.yaml", gpus=1), 2, (), id="in a file"),
        pytest.param(a(command=["sh", "-c", "x"], gpus=8), 1, (), id="in a shell"),
        pytest.param(a("--tp", "64"), 2, (), id="no GPUs"),
        pytest.param(
            a("--tp", "8", gpus=8), 2,
            ("4 of 8 GPUs of each pod stay idle: --tp-size 8 makes 8 processes, 4 on each of 2 nodes",), id="idle",
        ),
    ],
)  # fmt: skip
def test_gpus_that_suffice(container: Manifest, nodes: int, warnings: tuple[str, ...]) -> None:
    assert leader(container, nodes=nodes).warnings == warnings


NOT_KNOWN = (
    'write ["python3", "-m", "sglang.launch_server", "--model-path", "<model>"], or engine: custom with '
    "multinode.workerTemplate, which may use $(LWS_LEADER_ADDRESS) and $(LWS_WORKER_INDEX)"
)


@pytest.mark.parametrize(
    ("container", "role", "says"),
    [
        pytest.param(
            a(*BASE), {"nodes": 2, "backend": "ray"},
            "spec.roles[0].multinode.backend: 'ray': sglang has no backends; remove it", id="backend",
        ),
        pytest.param(
            a("--nnodes", "2"), {},
            f"{WHERE}.args: --nnodes 2, and the role has one node per copy: set multinode.nodeCount to 2 and remove "
            "--nnodes; FusionInfer adds it",
            id="several nodes in a role of one",
        ),
        pytest.param(
            a("--nnodes", "2"), {"nodes": 2},
            f"{WHERE}.args: --nnodes without --node-rank, --dist-init-addr: give all or none; FusionInfer adds them "
            "where none is",
            id="some of the flags",
        ),
        pytest.param(
            a("--nnodes", "3", "--node-rank", "$(R)", "--dist-init-addr", "x:1"), {"nodes": 2},
            f"{WHERE}.args: --nnodes 3 is not multinode.nodeCount, 2; write 2, or remove --nnodes, --node-rank, "
            "--dist-init-addr: FusionInfer adds them",
            id="another number of nodes",
        ),
        pytest.param(
            a("--nnodes", "2", "--node-rank", "0", "--dist-init-addr", "x:1"), {"nodes": 2},
            f"{WHERE}.args: --node-rank 0 would be the same on every node; write $(LWS_WORKER_INDEX), or remove "
            "--nnodes, --node-rank, --dist-init-addr: FusionInfer adds them",
            id="the same rank on every node",
        ),
        pytest.param(
            a(command=["sh", "-c", "sglang serve qwen"]), {"nodes": 2},
            f"{WHERE}.command: a shell's script cannot be completed for several nodes: write command and args as "
            f"lists, such as {NOT_KNOWN.removeprefix('write ')}",
            id="in a shell",
        ),
        pytest.param(
            a("qwen", command=["/start"]), {"nodes": 2},
            f"{WHERE}.args: it cannot be told which of these words the engine reads: {NOT_KNOWN}",
            id="another program",
        ),
        pytest.param(
            a("--tp", "16", gpus=8), {},
            f"{WHERE}.args: --tp-size 16 makes 16 processes, and a pod has 8 GPUs: ask for 16 GPUs in "
            "resources.limits, set multinode.nodeCount to 2, or make the sizes smaller",
            id="too many for one node",
        ),
        pytest.param(
            a("--tp", "3"), {"nodes": 2},
            f"{WHERE}.args: --tp-size 3 makes 3 processes, which 2 nodes cannot share evenly: change the sizes, or "
            "multinode.nodeCount",
            id="not evenly shared",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(container: Manifest, role: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        leader(container, **role)
    assert str(refusal.value) == says
