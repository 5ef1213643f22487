"""The operator as a process beside a cluster, with exactly the rights that it ships with.

For the demonstration, the tests and the benchmarks: CRD and rights are applied by kubectl as an administrator would,
and the operator gets a kubeconfig that holds nothing but a token of its own ServiceAccount.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fusioninfer.api.admission import admission_manifests
from fusioninfer.api.crd import custom_resource_definition
from fusioninfer.api.types import GROUP, PLURAL, VERSION
from fusioninfer.daemon.rbac import install_manifests

NAMESPACE = "fusioninfer-system"
ACCOUNT = "fusioninfer"
TOKEN_LIFETIME = "24h"
SERVED_SECONDS = 30.0


class Complaint(Exception):
    """What kubectl says when it cannot do what it is told."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one cluster, as its administrator."""

    program: Path
    kubeconfig: Path

    def __call__(self, *words: str, given: str | None = None) -> str:
        """What it prints; raises Complaint with what it says against it."""
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Complaint(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifests: Iterable[Mapping[str, Any]], *words: str) -> None:
        """Apply `manifests` in their order; `words` are further flags, such as -n and a namespace."""
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self("apply", "--server-side", "--force-conflicts", *words, "-f", "-", given=documents)


def install(kubectl: Kubectl) -> None:
    """The CRD, served, the rights of the operator, and who may ask for which pods."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    rights = install_manifests(NAMESPACE)
    kubectl.apply([namespace, custom_resource_definition(), *rights, *admission_manifests()])
    _await_served(kubectl)


def _await_served(kubectl: Kubectl) -> None:
    """Until the API server serves our kind.

    Not by `kubectl wait`: v1.36 gives up on a CRD that has no conditions at all yet, whatever it is to wait for.
    """
    give_up = time.monotonic() + SERVED_SECONDS
    while True:
        try:
            kubectl("get", "--raw", f"/apis/{GROUP}/{VERSION}/{PLURAL}?limit=1")
        except Complaint:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
        else:
            return


def write_kubeconfig(kubectl: Kubectl, path: Path) -> None:
    """A kubeconfig at `path` with a token of the operator's own account."""
    admin = yaml.safe_load(kubectl.kubeconfig.read_text())
    token = kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, f"--duration={TOKEN_LIFETIME}").strip()
    cluster = admin["clusters"][0]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "operator",
        "contexts": [
            {"name": "operator", "context": {"cluster": cluster["name"], "user": "operator", "namespace": NAMESPACE}}
        ],
        "clusters": [cluster],
        "users": [{"name": "operator", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)


def start(
    kubeconfig: Path, log: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """The operator, running; what it says goes to `log`."""
    program = Path(sys.executable).with_name("fusioninfer")
    command = [str(program), "operator", "--kubeconfig", str(kubeconfig), *flags]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
