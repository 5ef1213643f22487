"""The commands as a whole: their names, their help, what they import."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusioninfer.cli.main import app

RUNNER = CliRunner()
ROOT = Path(__file__).parents[2]
COMMANDS = (
    "lint", "render", "diff", "status", "explain", "check", "logs", "chat", "scale", "crd", "rbac", "operator",
    "completion",
)  # fmt: skip


def test_the_commands_are_these() -> None:
    assert {command.name or command.callback.__name__ for command in app.registered_commands if command.callback} == {
        *COMMANDS
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = RUNNER.invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert command in result.stdout


def test_kubectl_finds_us_by_the_names_of_plugins() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert set(scripts) == {"fusioninfer", "kubectl-fusioninfer", "kubectl_complete-fusioninfer"}
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(import_module(module), name))


def loaded_by(*words: str) -> set[str]:
    """Modules that a command imports."""
    program = f"import sys; from fusioninfer.cli.main import app\ntry: app({list(words)})\nexcept SystemExit: pass\n"
    program += "print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stderr.splitlines())


def test_help_and_lint_import_nothing_that_speaks_to_clusters() -> None:
    slow = {"aiohttp", "fusioninfer.kube.client", "lightkube"}

    assert not slow & loaded_by("lint", "-f", "examples")
    assert not (slow | {"fusioninfer.api.parse", "fusioninfer.build.desired"}) & loaded_by("--help")
    assert slow <= loaded_by("status", "--kubeconfig", "/nowhere")  # so that the test can fail


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["status", "-o", "xml"], "--output xml: there are json, yaml, wide", id="output"),
        pytest.param(["status", "--watch"], "--watch and --until-ready are about one service: name it", id="watch all"),
        pytest.param(["diff", "-f", "/nowhere"], "/nowhere: [Errno 2] No such file", id="no such file"),
        pytest.param(["diff", "-f", "-"], "-: there is no InferenceService", id="nothing in it"),
        pytest.param(["explain", "x", "--kubeconfig", "/nowhere"], "/nowhere not found", id="no such kubeconfig"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: list[str], says: str) -> None:
    result = RUNNER.invoke(app, words, input="")

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: c}}], "
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]}"
    )
    result = RUNNER.invoke(app, ["explain", "x"], env={**os.environ, "KUBECONFIG": str(config)})

    assert result.exit_code == 2
    assert "http://127.0.0.1:9" in result.stderr


def test_its_version_is_pyprojects() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    result = RUNNER.invoke(app, ["--version"])

    assert (result.exit_code, result.output) == (0, f"fusioninfer {said}\n")
