"""What a router's pod is made of, and what stands before a decoder: the images of the Endpoint Picker, of Envoy and of
the decode sidecar, under the names of their releases."""

from __future__ import annotations

from testbed import envoy, images, programs

PICKER = "epp"
PICKER_IMAGE = "ghcr.io/llm-d/llm-d-inference-scheduler:v0.7.1"
SIDECAR = "pd-sidecar"
SIDECAR_IMAGE = "ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1"
"""What that release's own workflow calls it."""


def start() -> None:
    """Have the images."""
    images.load(picker())
    images.load(sidecar())
    images.load(envoy.image())


def picker() -> images.Image:
    """A static program and nothing else, where the release has it; the user is the release's too."""
    return images.Image(PICKER_IMAGE, (("app/epp", programs.path(PICKER)),), ("/app/epp",))


def sidecar() -> images.Image:
    """As in the release: the same place, the same user, which is nobody in particular."""
    return images.Image(SIDECAR_IMAGE, (("app/pd-sidecar", programs.path(SIDECAR)),), ("/app/pd-sidecar",))
