"""The Service `<svc>`: the one address of the model, whatever serves behind it."""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest
from fusioninfer.build.metadata import child_metadata


def entry_service(service: InferenceService, target_port: str) -> Manifest:
    """Port 80 → `target_port`, by name, of the pods that answer whole requests.

    Prefillers answer HTTP too, but not clients.
    """
    apart = any(role.component_type == "prefiller" for role in service.roles)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(service, names.entry(service.name)),
        "spec": {
            "ports": [
                {"name": names.PORT_NAME, "port": names.SERVICE_PORT, "targetPort": target_port, "protocol": "TCP"}
            ],
            "selector": {
                names.SERVICE_LABEL: service.name,
                names.SERVING_LABEL: "true",
                **({names.COMPONENT_TYPE_LABEL: "decoder"} if apart else {}),
            },
        },
    }
