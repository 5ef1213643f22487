"""How many router pods a drained node may take at a time."""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import router_metadata


def disruption_budget(service: InferenceService, router: Router) -> Manifest:
    """One: there are others, or there would be no budget."""
    labels = names.router_labels(service.name, router.name)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": router_metadata(service, router),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
    }
