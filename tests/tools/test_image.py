"""The operator's image: what is in it, and that it runs with nothing else. test_release makes it twice."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tools import image

SHELLS = {"sh", "bash", "dash", "busybox", "ash", "zsh"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the image, made once for all tests."""
    root = tmp_path_factory.mktemp("image") / "root"
    root.mkdir()
    image.write_tree(root)
    return root


def run(tree: Path, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """The image's program with nothing but the image's files, as its user."""
    environment = dict(image.image(tree).environment)
    command = ["/usr/sbin/chroot", "--userspec=65532:65532", str(tree), *image.image(tree).entry, *words]
    return subprocess.run(command, capture_output=True, text=True, input=given, env=environment)


def test_it_runs_where_nothing_else_is(tree: Path) -> None:
    done = run(tree, "render", "-f", "-", given=Path("examples/cpu.yaml").read_text())

    assert done.returncode == 0, done.stderr
    assert "kind: StatefulSet" in done.stdout


def test_every_built_in_engine_and_strategy_is_there(tree: Path) -> None:
    done = run(tree, "render", "-f", "-", given=Path("examples/pd.yaml").read_text())

    assert done.returncode == 0, done.stderr
    assert "disagg-profile-handler" in done.stdout


def test_there_is_no_shell_and_no_tool_of_ours(tree: Path) -> None:
    names = {file.name for file in tree.rglob("*")}

    assert not names & SHELLS
    assert not {"pytest", "mypy", "ruff", "pip", "setuptools", "hypothesis"} & names


def test_nothing_in_it_names_a_folder_of_this_machine(tree: Path) -> None:
    here = str(Path.cwd()).encode()
    naming = [file for file in tree.rglob("*") if file.is_file() and here in file.read_bytes()]

    assert naming == []


def test_the_containerfile_says_what_the_archive_says(tree: Path) -> None:
    made = image.image(tree)
    lines = Path("Containerfile").read_text().rpartition("FROM scratch")[2].splitlines()
    said = {word: rest for word, _, rest in (line.partition(" ") for line in lines)}
    environment = dict(word.split("=", 1) for word in shlex.split(said["ENV"]))

    assert said["USER"] == made.user
    assert said["ENTRYPOINT"] == f'["{made.entry[0]}"]'
    assert environment.pop("PATH") == "/usr/local/bin:/usr/bin:/bin"
    assert environment == dict(made.environment)
