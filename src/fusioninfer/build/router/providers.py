"""What the gateways of GKE and Istio need to be told beside the Gateway API; made only where their kinds are served.

As the chart of the Gateway API inference extension v1.4.0 makes them (config/charts/inferencepool/templates).
No such gateway runs in our test suite: it proves that these objects are made where their kinds are served, no more.
"""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import router_metadata

TIMEOUT_SECONDS = 3600
"""Of a whole answer; 30 s by default on GKE."""


def provider_objects(service: InferenceService, router: Router, port: int) -> tuple[Manifest, ...]:
    """For all of them; the engines answer at `port`."""
    return (
        _gke(service, router, "HealthCheckPolicy", _engines_health(port)),
        _gke(service, router, "GCPBackendPolicy", {"timeoutSec": TIMEOUT_SECONDS}),
        _istio(service, router),
    )


def _engines_health(port: int) -> Manifest:
    """GKE asks `/` by default, where engines answer 404."""
    http = {"requestPath": "/health", "port": port}
    return {"timeoutSec": 2, "checkIntervalSec": 2, "config": {"type": "HTTP", "httpHealthCheck": http}}


def _gke(service: InferenceService, router: Router, kind: str, default: Manifest) -> Manifest:
    """A policy on the pool."""
    name = names.workload(service.name, router.name)
    target = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": name}
    return {
        "apiVersion": "networking.gke.io/v1",
        "kind": kind,
        "metadata": router_metadata(service, router),
        "spec": {"targetRef": target, "default": default},
    }


def _istio(service: InferenceService, router: Router) -> Manifest:
    """Istio speaks to the picker in the clear, if it is not told otherwise."""
    name = names.workload(service.name, router.name)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": router_metadata(service, router),
        "spec": {
            "host": f"{name}.{service.namespace}.svc.cluster.local",
            "trafficPolicy": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}},
        },
    }
