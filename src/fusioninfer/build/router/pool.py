"""The InferencePool: the pods among which the picker picks, and where gateways find the picker."""

from __future__ import annotations

from collections.abc import Mapping

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import router_metadata
from fusioninfer.build.router.ports import PICKER_PORT


def inference_pool(
    service: InferenceService, router: Router, port: int, selector: Mapping[str, str]
) -> Manifest:  # fmt: skip
    """All pods with the labels of `selector`, at `port`."""
    name = names.workload(service.name, router.name)
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": router_metadata(service, router),
        "spec": {
            "selector": {"matchLabels": dict(selector)},
            "targetPorts": [{"number": port}],
            "endpointPickerRef": {
                "group": "",
                "kind": "Service",
                "name": name,
                "port": {"number": PICKER_PORT},
                "failureMode": "FailClose",
            },
        },
    }


def picker_service(service: InferenceService, router: Router) -> Manifest:
    """Where a gateway asks the picker; the pool has to name it, whoever asks.

    Without an appProtocol: gateways know how to speak to a picker, by TLS, and h2c would say that it is in the clear.
    """
    labels = names.router_labels(service.name, router.name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": router_metadata(service, router),
        "spec": {
            "ports": [
                {"name": "grpc-ext-proc", "port": PICKER_PORT, "targetPort": PICKER_PORT, "protocol": "TCP"},
            ],
            "selector": labels,
        },
    }
