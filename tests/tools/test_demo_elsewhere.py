"""What `make demo CONTEXT=…` tells the chart, and where it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import demo_elsewhere, in_cluster


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        ("registry.example:5000/fi:0.2.0", ("image.repository=registry.example:5000/fi", "image.tag=0.2.0")),
        ("registry.example/fi@sha256:ab", ("image.repository=registry.example/fi", "image.digest=sha256:ab")),
    ],
)
def test_the_chart_is_told_of_the_image(image: str, settings: tuple[str, ...]) -> None:
    assert demo_elsewhere.image_settings(image) == settings


@pytest.mark.parametrize("image", ["registry.example/fi", "registry.example:5000/fi"])
def test_an_image_without_a_version_is_refused(image: str) -> None:
    with pytest.raises(SystemExit, match="names no version"):
        demo_elsewhere.image_settings(image)


def test_a_cluster_that_cannot_have_the_image_is_told_how_it_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="IMAGE=registry"):
        demo_elsewhere.given_to_kind("my-cluster")


def test_kind_is_given_the_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """kind itself does not run here: it needs Docker."""
    said = tmp_path / "said"
    (tmp_path / "kind").write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    (tmp_path / "kind").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(in_cluster, "archive", lambda: Path("/image.tar"))

    settings = demo_elsewhere.given_to_kind("kind-mine")

    assert said.read_text() == "load image-archive /image.tar --name mine\n"
    assert settings[0] == "image.repository=fusioninfer/fusioninfer"


def test_programs_that_are_not_there_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="helm is not on the PATH"):
        demo_elsewhere.needed("helm")
