"""The command line, as a person runs it against the cluster."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness import Namespace

Done = subprocess.CompletedProcess[str]


def fusioninfer(
    namespace: Namespace, *words: str, given: str = "", kubeconfig: Path | None = None, seconds: float = 120
) -> Done:
    """`fusioninfer WORDS` in the namespace, reading `given`; as the administrator, or whoever `kubeconfig` is of."""
    command = _command(namespace, kubeconfig or namespace.kubectl.kubeconfig, *words)
    return subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=seconds
    )


def typed(namespace: Namespace, keys: str, *words: str, seconds: float = 60) -> str:
    """What `fusioninfer WORDS` prints to somebody at a terminal who types `keys`."""
    mine, theirs = pty.openpty()
    command = _command(namespace, namespace.kubectl.kubeconfig, *words)
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        os.write(mine, keys.encode())
        try:
            printed, _ = process.communicate(timeout=seconds)
        finally:
            process.kill()
            os.close(mine)
            os.close(theirs)
    return printed


ENVIRONMENT = {**os.environ, "COLUMNS": "1000", "NO_COLOR": "1"}


def _command(namespace: Namespace, kubeconfig: Path, *words: str) -> list[str]:
    flags = ("--kubeconfig", str(kubeconfig), "-n", namespace.name)
    return [sys.executable, "-m", "fusioninfer", *words, *(flags if words[0] != "check" else flags[:2])]
