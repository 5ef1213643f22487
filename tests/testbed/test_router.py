"""What the local cluster has for routers, without any cluster."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from testbed import crds, envoy, images, programs, router


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root")
@pytest.mark.parametrize(
    ("image", "word", "said"),
    [
        (envoy.image, "--version", f"/{envoy.VERSION}/"),
        (router.picker, "--help", "--pool-name"),
        (router.sidecar, "--help", "--vllm-port"),
    ],
    ids=["envoy", "picker", "sidecar"],
)
def test_an_image_holds_all_that_its_program_needs(image: object, word: str, said: str, tmp_path: Path) -> None:
    assert callable(image)
    program = {router.picker: router.PICKER, router.sidecar: router.SIDECAR}.get(image)
    if program and not programs.path(program).exists():
        pytest.skip(f"{program} is not built: python -m testbed build {program}")
    archive, root = tmp_path / "image.tar", tmp_path / "root"
    images.write_archive(image(), archive)
    config = _unpack(archive, root)

    done = subprocess.run(
        ["chroot", f"--userspec={config['User']}", str(root), *config["Entrypoint"], word],
        capture_output=True,
        text=True,
    )

    assert said in done.stdout + done.stderr


def _unpack(archive: Path, root: Path) -> dict[str, str]:
    """The image's one layer into `root`; its config."""
    root.mkdir(mode=0o755)
    with tarfile.open(archive) as content:
        (manifest,) = json.loads(_read(content, "manifest.json"))
        with tarfile.open(fileobj=io.BytesIO(_read(content, manifest["Layers"][0]))) as layer:
            layer.extractall(root, filter="fully_trusted")
        config: dict[str, str] = json.loads(_read(content, manifest["Config"]))["config"]
    return config


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    assert found is not None
    return found.read()


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (crds.INFERENCE, {"inference.networking.k8s.io_inferencepools.yaml"}),
        (crds.GATEWAY, {"gateway.networking.k8s.io_gateways.yaml", "gateway.networking.k8s.io_httproutes.yaml"}),
    ],
    ids=["inference", "gateway"],
)
def test_kinds_are_read_from_the_pinned_release(kinds: crds.Kinds, expected: set[str]) -> None:
    found = {file.name for file in crds.definitions(kinds.files())}

    assert expected <= found


def test_a_policy_beside_the_kinds_is_applied_and_not_waited_for() -> None:
    files = crds.GATEWAY.files()

    assert [file.name for file in files if file not in crds.definitions(files)] == [
        "gateway.networking.k8s.io_vap_safeupgrades.yaml"
    ]
