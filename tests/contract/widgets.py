"""What the contract is tried on: a kind of our own, of which no controller knows, and a few built-in ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from fusioninfer.api.schema import kubernetes_definitions
from fusioninfer.kube import requests
from fusioninfer.kube.memory import MERGE_PATCH, Served
from fusioninfer.kube.requests import JSON, Kube, Manifest, Request, Resource

WIDGETS = Resource("contract.fusioninfer.io", "v1", "Widget", "widgets")
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
STATEFUL_SETS = Resource("apps", "v1", "StatefulSet", "statefulsets")
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
CRDS = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)

_WIDGET_SPEC: Manifest = {
    "replicas": {"type": "integer"},
    "size": {"type": "string"},
    "words": {"type": "array", "items": {"type": "string"}},
    "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    "parts": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}, "colour": {"type": "string"}},
        },
    },
    "selector": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "x-kubernetes-map-type": "atomic",
    },
    "box": {"type": "object", "properties": {"height": {"type": "integer"}, "width": {"type": "integer"}}},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
_WIDGET_STATUS: Manifest = {
    "phase": {"type": "string"},
    "replicas": {"type": "integer"},
    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    "conditions": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
        },
    },
}
WIDGET_SCHEMA: Manifest = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": _WIDGET_SPEC},
        "status": {"type": "object", "properties": _WIDGET_STATUS},
    },
}
WIDGET_CRD: Manifest = {
    "apiVersion": CRDS.api_version,
    "kind": CRDS.kind,
    "metadata": {"name": f"{WIDGETS.plural}.{WIDGETS.group}"},
    "spec": {
        "group": WIDGETS.group,
        "scope": "Namespaced",
        "names": {"kind": WIDGETS.kind, "listKind": "WidgetList", "plural": WIDGETS.plural, "singular": "widget"},
        "versions": [
            {
                "name": WIDGETS.version,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
            }
        ],
    },
}

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _built_in(resource: Resource, **served: Any) -> Served:
    definitions = kubernetes_definitions()
    return Served(resource, definitions[resource.kind], definitions=definitions, **served)


SERVED = (
    Served(WIDGETS, WIDGET_SCHEMA, ("status", "scale"), custom=True),
    Served(CONFIG_MAPS, {"type": "object", "properties": {"data": _TEXTS}}, (), counts_generations=False),
    _built_in(STATEFUL_SETS, subresources=("status", "scale")),
    _built_in(LEASES, subresources=(), counts_generations=False),
)
"""What of all this a memory server serves."""


Make = Callable[..., Manifest]
"""Makes a manifest of a name, with metadata."""


def a_widget(name: str = "w", spec: Manifest | None = None, **metadata: Any) -> Manifest:
    """A widget of one size, so that its spec is never empty."""
    return {
        "apiVersion": WIDGETS.api_version,
        "kind": WIDGETS.kind,
        "metadata": {"name": name, **metadata},
        "spec": {"size": "small", **(spec or {})},
    }


def a_config_map(name: str = "c", data: Mapping[str, str] | None = None, **metadata: Any) -> Manifest:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"name": name, **metadata},
        "data": {"key": "value"} if data is None else data,
    }


def a_stateful_set(*containers: Manifest, name: str = "s", **metadata: Any) -> Manifest:
    """A workload without pods."""
    labels = {"app": name}
    return {
        "apiVersion": STATEFUL_SETS.api_version,
        "kind": STATEFUL_SETS.kind,
        "metadata": {"name": name, **metadata},
        "spec": {
            "replicas": 0,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}},
        },
    }


def owned_by(owner: Manifest, *, blocks: bool = False) -> list[Manifest]:
    """The ownerReferences of an object that `owner`, as read, controls."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    return [{**reference, "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": blocks}]


def merge_patch(resource: Resource, live: Manifest, patch: Manifest, *, manager: str, subresource: str = "") -> Request:
    """A change as another client makes it."""
    metadata = live["metadata"]
    path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
    return Request("PATCH", path, {"fieldManager": manager}, msgspec.json.encode(patch), MERGE_PATCH)


def post(resource: Resource, namespace: str, manifest: Manifest, *, manager: str = "poster") -> Request:
    """A creation as another client does it."""
    query = {"fieldManager": manager}
    return Request("POST", resource.path(namespace), query, msgspec.json.encode(manifest), JSON)


def put(resource: Resource, live: Manifest, *, manager: str) -> Request:
    """A replacement as another client does it."""
    metadata = live["metadata"]
    path = resource.path(metadata["namespace"], metadata["name"])
    return Request("PUT", path, {"fieldManager": manager}, msgspec.json.encode(live), JSON)


class Namespace:
    """One namespace of an API server, and who writes there."""

    def __init__(self, kube: Kube, name: str) -> None:
        self.kube = kube
        self.name = name

    async def send(self, request: Request) -> Manifest:
        """The answer to `request`; raises `errors.ApiError`."""
        answer: Manifest = msgspec.json.decode(await self.kube.send(request))
        return answer

    async def apply(self, resource: Resource, manifest: Manifest, *, manager: str = "us", sub: str = "") -> Manifest:
        """What became of `manifest` in this namespace."""
        placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": self.name}}
        return await self.send(requests.apply(resource, placed, manager=manager, subresource=sub))

    async def change(self, resource: Resource, live: Manifest, patch: Manifest, *, sub: str = "") -> Manifest:
        """What became of `live` when somebody else patched it."""
        return await self.send(merge_patch(resource, live, patch, manager="them", subresource=sub))

    async def get(self, resource: Resource, name: str) -> Manifest:
        return await self.send(requests.get(resource, self.name, name))

    async def names(self, resource: Resource, labels: str = "") -> list[str]:
        """The names of all objects of a kind, in the order of the answer."""
        page = await self.send(requests.list_page(resource, self.name, labels=labels))
        return [item["metadata"]["name"] for item in page["items"]]

    async def delete(self, resource: Resource, live: Manifest, propagation: str = "Background") -> Manifest:
        metadata = live["metadata"]
        return await self.send(
            requests.delete(resource, self.name, metadata["name"], uid=metadata["uid"], propagation=propagation)
        )

    async def version(self, resource: Resource) -> str:
        """The version at which a kind can be watched from now on."""
        page = await self.send(requests.list_page(resource, self.name))
        return str(page["metadata"]["resourceVersion"])

    async def frames(self, request: Request) -> AsyncGenerator[Manifest]:
        """The frames of a watch, as they come."""
        async for line in self.kube.stream(request):
            yield msgspec.json.decode(line)


async def eventually(look: Callable[[], Awaitable[bool]], what: str, seconds: float = 120) -> None:
    """Wait until `look` says yes: a real garbage collector takes its time, all the more after many tests."""
    for _ in range(int(seconds * 10)):
        if await look():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


def held_by(live: Manifest, manager: str, operation: str = "Apply", subresource: str = "") -> Manifest:
    """The fieldsV1 of what `manager` holds of `live`; empty if nothing."""
    for entry in live["metadata"].get("managedFields", []):
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, operation, subresource):
            fields: Manifest = entry["fieldsV1"]
            return fields
    return {}
