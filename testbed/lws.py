"""LeaderWorkerSet as its users install it: its own manifests, its controller in a pod, its webhooks in the cluster.

The manifests are read where Go keeps the module's sources; only what stands in PATCH differs from them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from testbed import images, places, programs
from testbed.control_plane import kubectl
from testbed.refusal import Refusal

MODULE = "sigs.k8s.io/lws"
IMAGE = "registry.k8s.io/lws/lws:v0.9.0"
"""As the release names it; the sources name a nightly build."""
NAMESPACE, CONTROLLER = "lws-system", "lws-controller-manager"
ANSWER_SECONDS = 60

PATCH: dict[str, object] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": CONTROLLER, "namespace": NAMESPACE},
    "spec": {
        "replicas": 1,  # the second one only waits for the first to die, and takes as much of the one node
        "template": {
            "spec": {
                # Played nodes have room, and run nothing.
                "nodeSelector": {"kubernetes.io/hostname": places.NODE},
                "containers": [
                    {
                        "name": "manager",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        # It asks for a whole core of the two that a small machine has, and needs a hundredth of one.
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                        # It is ready within two seconds, and would be asked after five and then every ten.
                        "readinessProbe": {"initialDelaySeconds": 0, "periodSeconds": 1},
                    }
                ],
            }
        },
    },
}

EXAMPLE: dict[str, object] = {
    "apiVersion": "leaderworkerset.x-k8s.io/v1",
    "kind": "LeaderWorkerSet",
    "metadata": {"name": "does-it-answer", "namespace": "default"},
    "spec": {
        "leaderWorkerTemplate": {
            "size": 2,
            "workerTemplate": {"spec": {"containers": [{"name": "nothing", "image": images.PAUSE}]}},
        }
    },
}


def start() -> None:
    """Have it in the cluster; returns when a LeaderWorkerSet can be made."""
    if answers():
        return
    images.load(image())
    folder = places.STATE / "lws"
    folder.mkdir(exist_ok=True)
    manifests = programs.module_folder("lws", MODULE) / "config" / "default"
    (folder / "kustomization.yaml").write_text(json.dumps(overlay(manifests, folder), indent=1))
    kubectl("apply", "--server-side", "-k", folder)
    _await_answer()


def image() -> images.Image:
    """The controller under the name that the release's manifests use: a static program and nothing else."""
    return images.Image(IMAGE, (("manager", programs.path("lws")),), ("/manager",))


def overlay(manifests: Path, folder: Path) -> dict[str, object]:
    """A kustomization in `folder`: the manifests with PATCH. kustomize takes no absolute path."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(manifests.resolve(), folder.resolve())],
        "patches": [{"patch": json.dumps(PATCH)}],
    }


def answers() -> bool:
    """The webhooks answer: one of them fills in what the API server would leave out (and nothing is stored)."""
    return _ask()[0] == "Shared"


def _ask() -> tuple[str, str]:
    """The field that the webhook fills in, and the complaint."""
    field = "jsonpath={.spec.networkConfig.subdomainPolicy}"
    done = kubectl("create", "--dry-run=server", "-o", field, "-f", "-", given=json.dumps(EXAMPLE), check=False)
    return done.stdout, done.stderr.strip()


def _await_answer() -> None:
    give_up = time.monotonic() + ANSWER_SECONDS
    while True:
        field, complaint = _ask()
        if field == "Shared":
            return
        if time.monotonic() > give_up:
            words = kubectl("logs", "-n", NAMESPACE, f"deployment/{CONTROLLER}", "--tail=10", check=False)
            raise Refusal(
                f"LeaderWorkerSet does not answer after {ANSWER_SECONDS} s: {complaint or 'no webhook was asked'}; "
                f"its controller said:\n{words.stdout or words.stderr}"
            )
        time.sleep(0.2)
