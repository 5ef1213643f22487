"""What a router's pod is made of: the images of the Endpoint Picker and of Envoy, under the names of their releases."""

from __future__ import annotations

from testbed import envoy, images, programs

PICKER = "epp"
PICKER_IMAGE = "ghcr.io/llm-d/llm-d-inference-scheduler:v0.7.1"


def start() -> None:
    """Have both images."""
    images.load(picker())
    images.load(envoy.image())


def picker() -> images.Image:
    """A static program and nothing else, where the release has it; the user is the release's too."""
    return images.Image(PICKER_IMAGE, (("app/epp", programs.path(PICKER)),), ("/app/epp",))
