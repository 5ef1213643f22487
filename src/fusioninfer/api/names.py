"""Every name that we promise: labels, annotations, field managers, ports and the names of children.

Names are verbatim, never hashed: users type them (`kubectl scale statefulset qwen-inference`), so they are API.
"""

from __future__ import annotations

from fusioninfer.api.types import GROUP

SERVICE_LABEL = f"{GROUP}/service"
ROLE_LABEL = f"{GROUP}/role"
COMPONENT_TYPE_LABEL = f"{GROUP}/component-type"
SERVING_LABEL = f"{GROUP}/serving"
"""On exactly the pods that answer HTTP."""
KV_REVISION = f"{GROUP}/kv-revision"
"""On the same pods of prefillers and decoders: equal where one can take the other's KV cache, as far as can be told."""

APPLIED = f"{GROUP}/applied"
"""Annotation: the hash of what we last sent for this object."""
ROLE_INPUT = f"{GROUP}/role-input"
"""Annotation on a workload: the hash of what the user wrote for the role, without replicas."""
TEMPLATE = f"{GROUP}/template"
"""Annotation on a workload: the hash of the pod template that we built."""
SURGE = f"{GROUP}/surge"
"""Annotation on a StatefulSet: how many copies it has been lent for a roll-out."""

MANAGER = "fusioninfer"
"""Field manager of all children."""
STATUS_MANAGER = "fusioninfer-status"
"""Field manager of the status, so that it never owns a field of a spec."""

PICKER_ROLE = "fusioninfer-endpoint-picker"
"""The ClusterRole by which pickers read pods and pools; the installation brings it."""

SERVICE_PORT = 80
PORT_NAME = "http"


def entry(service_name: str) -> str:
    """The Service by which clients reach the model."""
    return service_name


def workload(service_name: str, role_name: str) -> str:
    """The StatefulSet or LeaderWorkerSet of one role."""
    return f"{service_name}-{role_name}"


def gang(service_name: str) -> str:
    """The gang of all engine pods."""
    return service_name


def url(service_name: str, namespace: str) -> str:
    """Where the OpenAI API is served within the cluster; the port is 80."""
    return f"http://{entry(service_name)}.{namespace}.svc"


def service_labels(service_name: str) -> dict[str, str]:
    """On every child."""
    return {SERVICE_LABEL: service_name}


def role_labels(service_name: str, role_name: str, component_type: str) -> dict[str, str]:
    """On a role's workload and its pods."""
    return {**service_labels(service_name), ROLE_LABEL: role_name, COMPONENT_TYPE_LABEL: component_type}


def router_labels(service_name: str, role_name: str) -> dict[str, str]:
    """On the router's objects and its pods."""
    return role_labels(service_name, role_name, "router")
