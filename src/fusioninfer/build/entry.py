"""The Service `<svc>`: the one address of the model, whatever serves behind it."""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import child_metadata


def entry_service(service: InferenceService, target_port: str | int) -> Manifest:
    """Port 80 → `target_port`, by name, of the pods that answer whole requests.

    Prefillers answer HTTP too, but not clients.
    """
    return _entry(service, target_port, direct_selector(service))


def router_entry(service: InferenceService, router: Router) -> Manifest:
    """Port 80 → the router."""
    return _entry(service, names.PORT_NAME, names.router_labels(service.name, router.name))


def direct_selector(service: InferenceService) -> dict[str, str]:
    """The engine pods that answer whole requests."""
    apart = any(role.component_type == "prefiller" for role in service.roles)
    return {**serving_selector(service), **({names.COMPONENT_TYPE_LABEL: "decoder"} if apart else {})}


def serving_selector(service: InferenceService) -> dict[str, str]:
    """The engine pods that answer HTTP, of both sides."""
    return {names.SERVICE_LABEL: service.name, names.SERVING_LABEL: "true"}


def _entry(service: InferenceService, target_port: str | int, selector: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(service, names.entry(service.name)),
        "spec": {
            "ports": [
                {"name": names.PORT_NAME, "port": names.SERVICE_PORT, "targetPort": target_port, "protocol": "TCP"}
            ],
            "selector": selector,
        },
    }
