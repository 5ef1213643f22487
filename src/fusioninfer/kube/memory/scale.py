"""The scale subresource (autoscaling/v1) of a kind that counts its copies in `spec.replicas`."""

from __future__ import annotations

from fusioninfer.kube.memory.storage import Stored
from fusioninfer.kube.requests import Manifest


def scale_of(live: Stored) -> Manifest:
    """How many copies of `live` are asked for, and how many there are; without a selector."""
    names = ("name", "namespace", "uid", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            **{name: live.metadata[name] for name in names if name in live.metadata},
            "resourceVersion": str(live.version),
        },
        "spec": _replicas(live.manifest.get("spec")),
        "status": {"replicas": 0, **_replicas(live.manifest.get("status"))},
    }


def rescaled(live: Stored, scale: Manifest) -> Manifest:
    """`live` with the copies that `scale` asks for, guarded as `scale` is."""
    metadata = {**live.metadata, **_guards(scale["metadata"])}
    spec = {**live.manifest.get("spec", {}), "replicas": (scale.get("spec") or {}).get("replicas", 0)}
    return {**live.manifest, "metadata": metadata, "spec": spec}


def _replicas(part: Manifest | None) -> Manifest:
    return {"replicas": part["replicas"]} if part and "replicas" in part else {}


def _guards(metadata: Manifest) -> Manifest:
    return {name: metadata[name] for name in ("uid", "resourceVersion") if name in metadata}
