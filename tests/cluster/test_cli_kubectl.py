"""`kubectl fusioninfer …`: kubectl itself finds us, runs us, and completes our words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.harness import Namespace, a_service, nothing_runs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installed")]

SCRIPTS = {
    "kubectl-fusioninfer": "from fusioninfer.cli.main import app; app()",
    "kubectl_complete-fusioninfer": "from fusioninfer.cli.completion import kubectl_complete; kubectl_complete()",
}
"""What pip makes of the entry points."""


@pytest.fixture
def on_path(tmp_path: Path) -> str:
    for name, program in SCRIPTS.items():
        script = tmp_path / name
        script.write_text(f"#!{sys.executable}\n{program}\n")
        script.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def kubectl(namespace: Namespace, path: str, *words: str) -> str:
    """What kubectl prints, as whoever has its kubeconfig in the environment."""
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(namespace.kubectl.kubeconfig), "COLUMNS": "1000"}
    program = str(namespace.kubectl.program)
    return subprocess.run([program, *words], capture_output=True, text=True, check=True, env=environment).stdout


def test_kubectl_runs_and_completes_us(namespace: Namespace, on_path: str) -> None:
    namespace.apply(a_service("plugged-in", template=nothing_runs(), replicas=0))

    assert "fusioninfer" in kubectl(namespace, on_path, "plugin", "list")
    shown = kubectl(namespace, on_path, "fusioninfer", "status", "-n", namespace.name)
    assert "plugged-in" in shown
    completed = kubectl(namespace, on_path, "__complete", "fusioninfer", "explain", "-n", namespace.name, "plug")
    assert completed.splitlines()[0] == "plugged-in"
