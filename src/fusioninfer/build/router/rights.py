"""What the picker may read, and by which account: a binding to the one ClusterRole that the installation brings."""

from __future__ import annotations

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, Manifest, Router
from fusioninfer.build.metadata import router_metadata


def service_account(service: InferenceService, router: Router) -> Manifest:
    """Who the picker is."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": router_metadata(service, router)}


def role_binding(service: InferenceService, router: Router) -> Manifest:
    """Gives the ClusterRole `names.PICKER_ROLE` to the picker, in its own namespace only."""
    name = names.workload(service.name, router.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": router_metadata(service, router),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names.PICKER_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": service.namespace}],
    }
