"""The HTTPRoute: which requests a gateway leads to the pool, and at what path if the user says none."""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import router_metadata


def http_route(service: InferenceService, router: Router) -> Manifest:
    """What the user wrote, with the pool filled in where no backend is named.

    Without rules it takes a path that no other service has, so that many can share a gateway.
    """
    name, written = names.workload(service.name, router.name), router.route or {}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": router_metadata(service, router),
        "spec": {
            **written,
            "parentRefs": written.get("parentRefs") or [{"name": name}],
            "rules": [_led_to_the_pool(rule, name) for rule in written.get("rules") or [_own_path(service)]],
        },
    }


def path_of(service: InferenceService, router: Router) -> str:
    """What goes before the paths of the OpenAI API on the gateway; empty where the user's own rules say it."""
    return "" if (router.route or {}).get("rules") else f"/{service.namespace}/{service.name}"


def _own_path(service: InferenceService) -> Manifest:
    """The engines know nothing of the path, so it is taken off."""
    path = {"type": "PathPrefix", "value": f"/{service.namespace}/{service.name}"}
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    return {"matches": [{"path": path}], "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}]}


def _led_to_the_pool(rule: Manifest, pool: str) -> Manifest:
    redirects = any(one.get("type") == "RequestRedirect" for one in rule.get("filters") or ())
    if rule.get("backendRefs") or redirects:  # a rule that redirects may have no backend (Gateway API v1)
        return rule
    return {**rule, "backendRefs": [{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool}]}
