"""Nodes with GPUs that nobody has: kwok plays them and their pods beside the real node.

Pods get there by asking for the label `type: kwok` and tolerating the taint; their addresses answer nothing.
"""

from __future__ import annotations

import json

from testbed import places, processes, programs
from testbed.control_plane import KWOK, kubectl

MODULE = "sigs.k8s.io/kwok"
LABEL = {"type": "kwok"}
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
PODS_PER_NODE = 500


def start(nodes: int, gpus_per_node: int) -> None:
    """Play `nodes` nodes of `gpus_per_node` GPUs each, named gpu-0, gpu-1, …; those beyond are taken away."""
    if not any(process.name == KWOK and process.alive for process in processes.recorded()):
        _start()
    wanted = [node(f"gpu-{number}", gpus_per_node) for number in range(nodes)]
    kubectl(
        "apply", "--server-side", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    )
    there = kubectl("get", "nodes", "-l", "type=kwok", "-o", "name").stdout.split()
    surplus = [name for name in there if int(name.rpartition("-")[2]) >= nodes]
    if surplus:
        kubectl("delete", *surplus)
    if nodes:
        kubectl("wait", "--for=condition=Ready", "nodes", "-l", "type=kwok", "--timeout=30s")


def _start() -> None:
    stages = programs.module_folder("kwok", MODULE) / "kustomize" / "stage"
    config = places.STATE / "kwok.yaml"
    config.write_text("\n---\n".join((stages / stage).read_text() for stage in STAGES))
    processes.start(
        KWOK,
        [
            programs.path("kwok"), "--kubeconfig", places.STATE / f"{KWOK}.kubeconfig", "--config", config,
            "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--cidr", places.FAKE_POD_NET, "--node-lease-duration-seconds", "40",
        ],
    )  # fmt: skip


def node(name: str, gpus: int) -> dict[str, object]:
    """A node object that kwok keeps alive."""
    room = {"cpu": "256", "memory": "2Ti", "pods": str(PODS_PER_NODE), "nvidia.com/gpu": str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**LABEL, "kubernetes.io/hostname": name},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [TAINT]},
        "status": {"capacity": room, "allocatable": room},
    }
