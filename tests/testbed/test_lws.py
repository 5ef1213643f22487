"""How LeaderWorkerSet is installed, without any cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed import lws


def test_its_own_manifests_are_named_by_a_relative_path(tmp_path: Path) -> None:
    manifests, folder = tmp_path / "module" / "config" / "default", tmp_path / "state" / "lws"
    manifests.mkdir(parents=True)
    folder.mkdir(parents=True)

    (resource,) = _strings(lws.overlay(manifests, folder)["resources"])

    assert not Path(resource).is_absolute()
    assert (folder / resource).resolve() == manifests


def test_what_is_patched_is_one_controller_with_our_image_and_little_room(tmp_path: Path) -> None:
    overlay: dict[str, Any] = lws.overlay(tmp_path, tmp_path)

    deployment = json.loads(overlay["patches"][0]["patch"])
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert deployment["spec"]["replicas"] == 1
    assert container["image"] == lws.IMAGE
    assert container["resources"]["requests"]["cpu"] == "50m"


def _strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return value
