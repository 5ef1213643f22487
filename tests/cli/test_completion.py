"""What shells are told while somebody types."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fusioninfer.cli import completion
from tests import make


class Api(BaseHTTPRequestHandler):
    """A cluster with two services, each with a prefiller and a decoder."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        names = ["llm", "default"] if path.endswith("/namespaces") else ["qwen", "quick"]
        raw = make.raw_service(*make.prefill_and_decode())
        one: Any = {"items": [{"metadata": {"name": name}} for name in names]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(raw if path.endswith("/qwen") else one))

    def log_message(self, *words: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    path = tmp_path_factory.mktemp("completion") / "config"
    content = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": name, "context": {"cluster": "c"}} for name in ("here", "there")],
    }
    path.write_text(yaml.safe_dump(content))
    yield path
    server.shutdown()
    thread.join()
    server.server_close()


def completed(kubeconfig: Path | str, *words: str) -> list[str]:
    """What kubectl is told of `kubectl fusioninfer WORDS`, of which the last is incomplete."""
    program = "from fusioninfer.cli.completion import kubectl_complete; kubectl_complete()"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True, env=environment
    )
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["sca"], ["scale", ":4"], id="a command"),
        pytest.param(["status", "--cont"], ["--context", ":4"], id="an option"),
        pytest.param(["status", "-o", ""], ["json", "yaml", "wide", ":4"], id="a choice"),
        pytest.param(["explain", "qw"], ["qwen", ":4"], id="a service"),
        pytest.param(["scale", "qwen", ""], ["prefill", "decode", ":4"], id="a role"),
        pytest.param(["logs", "qwen", "-n", "l"], ["llm", ":4"], id="a namespace"),
        pytest.param(["logs", "--context", "t"], ["there", ":4"], id="a context"),
        pytest.param(["lint", "-f", ""], [":0"], id="files are left to the shell"),
    ],
)
def test_kubectl_is_told_what_may_follow(words: list[str], told: list[str], kubeconfig: Path) -> None:
    assert completed(kubeconfig, *words) == told


def test_without_a_cluster_nothing_is_told_and_nobody_complains() -> None:
    assert completed("/nowhere", "explain", "qw") == [":0"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fusioninfer", "completion", shell], capture_output=True, text=True, check=True
    )

    assert f"{completion.VARIABLE}=complete_{shell}" in done.stdout


def test_bash_completes_by_its_script(kubeconfig: Path, tmp_path: Path) -> None:
    program = tmp_path / "fusioninfer"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fusioninfer "$@"\n')
    program.chmod(0o755)
    typed = (
        "source <(fusioninfer completion bash); COMP_WORDS=(fusioninfer explain qw); COMP_CWORD=2; "
        '_fusioninfer_completion fusioninfer; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}

    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout == "qwen\n"


def test_another_shell_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "fusioninfer", "completion", "tcsh"], capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stderr == "tcsh: there are bash, zsh, fish\n"
