"""What every child carries: its name, whose it is, and the owner by which the garbage collector finds it."""

from __future__ import annotations

from collections.abc import Mapping

from fusioninfer.api import names, types
from fusioninfer.api.service import InferenceService, Manifest, Router


def child_metadata(
    service: InferenceService,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """The metadata of one child of `service`."""
    return {
        "name": name,
        "namespace": service.namespace,
        "labels": {**names.service_labels(service.name), **(labels or {})},
        **({"annotations": dict(annotations)} if annotations else {}),
        "ownerReferences": [
            {
                "apiVersion": types.API_VERSION,
                "kind": types.KIND,
                "name": service.name,
                "uid": service.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def router_metadata(service: InferenceService, router: Router) -> Manifest:
    """The metadata of one of the router's objects: all of them have one name."""
    name, labels = names.workload(service.name, router.name), names.router_labels(service.name, router.name)
    return child_metadata(service, name, labels=labels)
