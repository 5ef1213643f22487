"""The command line, as a person runs it against the cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness import Namespace

Done = subprocess.CompletedProcess[str]


def fusioninfer(
    namespace: Namespace, *words: str, given: str = "", kubeconfig: Path | None = None, seconds: float = 120
) -> Done:
    """`fusioninfer WORDS` in the namespace, reading `given`; as the administrator, or whoever `kubeconfig` is of."""
    there = str(kubeconfig or namespace.kubectl.kubeconfig)
    command = [sys.executable, "-m", "fusioninfer", *words, "--kubeconfig", there, "-n", namespace.name]
    environment = {**os.environ, "COLUMNS": "1000", "NO_COLOR": "1"}
    return subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, env=environment, timeout=seconds
    )
