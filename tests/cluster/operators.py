"""The operators that the chart has put into a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from tests.cluster.harness import Manifest, Namespace
from tools.in_cluster import RELEASE


def operators(release: Namespace) -> dict[str, Manifest]:
    """The operators that are not about to end, by name."""
    pods = release.list("pods", "-l", "app.kubernetes.io/name=fusioninfer")
    return {pod["metadata"]["name"]: pod for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def ready_operators(release: Namespace, count: int) -> dict[str, Manifest]:
    """So many operators by name, once there are as many, and all of them ready."""

    def are_ready(pods: dict[str, Manifest]) -> bool:
        return len(pods) == count and all(map(_is_ready, pods.values()))

    pods: dict[str, Manifest] = release.wait(
        lambda: operators(release), are_ready, f"{count} operators to be ready", 60
    )
    return pods


def _is_ready(pod: Manifest) -> bool:
    containers = pod["status"].get("containerStatuses", [])
    return bool(containers) and all(container["ready"] for container in containers)


def led_by(release: Namespace, pods: Mapping[str, Manifest]) -> str:
    """Which one of `pods` leads, once one of them does: a Lease that nobody had before is made after 3 s."""
    led: str = release.wait(lambda: leader(release), lambda name: name in pods, f"one of {sorted(pods)} to lead")
    return led


def lease(release: Namespace) -> Manifest:
    """What stands on the Lease; empty if there is none yet."""
    found = release.list("leases", f"--field-selector=metadata.name={RELEASE}")
    return next((each["spec"] for each in found), {})


def leader(release: Namespace) -> str:
    """The pod that leads; empty while none does."""
    return str(lease(release).get("holderIdentity", "")).partition("_")[0]
