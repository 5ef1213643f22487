"""CONTRIBUTING.md works as it is written: every command of it is run, by a test or by CI."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.cluster import Status

PAGE = Path("CONTRIBUTING.md").read_text()
COMMANDS = [line.partition(" #")[0].strip() for line in re.findall(r"^    (\S.*)$", PAGE, re.M)]
BIN = Path(sys.executable).parent
CI = Path(".ci/run").read_text()
NONE_COLLECTED = 5
"""pytest's exit code."""

RUN_BY = {
    "make demo": "by hand: it installs onto the machine, and its parts are those of tests/cluster",
    "make check": "CI, within make test",
    "make test": "CI",
    "make generate": "test_generated_files_are_fresh",
    ".venv/bin/pytest -q tests/api tests/reconcile": "test_fast_tests_need_no_cluster",
    ".venv/bin/python -m testbed up kwok sim": "test_a_cluster_that_is_up_is_kept",
    ".venv/bin/pytest -q tests/cluster/test_cli_status.py": "test_a_cluster_that_is_up_is_kept",
    ".venv/bin/python -m testbed down": "tests/testbed/test_lifecycle.py",
    "make release VERSION=1.2.3": "tests/tools/test_release.py, step by step",
    "make publish VERSION=1.2.3 REGISTRY=registry.example.com/team": "tests/tools/test_release.py, but for the push",
}


def run(command: str, *more: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command of the page with the packages that run this test, and with `more` words."""
    program, *words = shlex.split(command.replace(".venv/bin", str(BIN)))
    if program == "make":  # and nothing is installed
        words = [f"VENV={BIN.parent}", "-o", f"{BIN.parent}/.installed", *words]
    environment = {**os.environ, **({"PYTHONPATH": f"{folder}/src:{folder}"} if folder else {})}
    return subprocess.run([program, *words, *more], capture_output=True, text=True, cwd=folder, env=environment)


def test_every_command_is_run_by_somebody() -> None:
    assert COMMANDS
    assert list(RUN_BY) == COMMANDS
    assert "exec make test\n" in CI
    assert "\ntest: check " in Path("Makefile").read_text()
    for by in RUN_BY.values():
        name = by.partition(",")[0]
        assert name in globals() or Path(name).exists() or name == "CI" or by.startswith("by hand: "), by


def test_generated_files_are_fresh(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)

    done = run("make generate", folder=clone)

    assert done.returncode == 0, done.stderr
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert changed.stdout == "", "make generate changes what is committed: commit what it makes"


def test_fast_tests_need_no_cluster() -> None:
    done = run(COMMANDS[4], "--collect-only", "-m", "cluster or cluster_lifecycle")

    assert done.returncode == NONE_COLLECTED, done.stdout
    assert re.search(r"no tests collected \(\d{3,} deselected\)", done.stdout), done.stdout


@pytest.mark.cluster
def test_a_cluster_that_is_up_is_kept(cluster: Status) -> None:
    done = run(COMMANDS[5])

    assert done.returncode == 0, done.stderr
    status = run(".venv/bin/python -m testbed status --json").stdout
    assert f'"{cluster.kubeconfig}"' in status
    assert '"up"' in status
    assert run(COMMANDS[6], "--collect-only").returncode == 0
