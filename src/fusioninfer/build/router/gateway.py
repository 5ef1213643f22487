"""The Gateway, if the user wants one of the service's own."""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import router_metadata

HTTP_LISTENER: Manifest = {
    "name": names.PORT_NAME,
    "port": names.SERVICE_PORT,
    "protocol": "HTTP",
    "allowedRoutes": {"namespaces": {"from": "Same"}},
}


def gateway(service: InferenceService, router: Router, spec: Manifest) -> Manifest:
    """As the user wrote it; without listeners it listens for HTTP at port 80."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": router_metadata(service, router),
        "spec": {**spec, "listeners": spec.get("listeners") or [HTTP_LISTENER]},
    }
