"""Requests to an API server as values: built here without I/O, sent by a `Kube`.

A `Kube` is what sends them: `client.Client` over HTTP, `memory.MemoryServer` in a dict.
There is no PUT, and POST is for questions alone: whatever we write, we write by server-side apply, guarded by what we
saw.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

APPLY = "application/apply-patch+yaml"
JSON = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Manifest = dict[str, Any]
"""An object as it stands in YAML."""

ABSENT = {"resourceVersion": "1"}
"""The guard of an object that must not exist yet: 201 if absent, 409 if there (seen on API server 1.36.3)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object and where the API server serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return root + scope + "".join(f"/{part}" for part in (self.plural, name, subresource) if part)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to be sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    accept: str = JSON


class Kube(Protocol):
    """An API server, as far as we speak to it."""

    async def send(self, request: Request) -> bytes:
        """The body of the answer; raises `errors.ApiError` or `errors.Unreachable`."""
        ...

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        """The lines of a watch, without line ends, until the server ends it; raises as `send`."""
        ...


def get(resource: Resource, namespace: str, name: str) -> Request:
    """Read one object."""
    return Request("GET", resource.path(namespace, name))


def list_page(
    resource: Resource, namespace: str = "", *, labels: str = "", limit: int = 500, continue_token: str = "",
    accept: str = JSON,
) -> Request:  # fmt: skip
    """Read one page of a collection: all namespaces if `namespace` is empty."""
    query = {"limit": str(limit)}
    if labels:
        query["labelSelector"] = labels
    if continue_token:
        query["continue"] = continue_token
    return Request("GET", resource.path(namespace), query, accept=accept)


def watch(
    resource: Resource, namespace: str = "", *, labels: str = "", name: str = "", resource_version: str,
    timeout_seconds: int, accept: str = JSON,
) -> Request:  # fmt: skip
    """Follow a collection, or the one object of it called `name`, from `resource_version` on, with bookmarks."""
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(timeout_seconds),
    }
    if labels:
        query["labelSelector"] = labels
    if name:
        query["fieldSelector"] = f"metadata.name={name}"
    return Request("GET", resource.path(namespace), query, accept=accept)


def apply(resource: Resource, manifest: Manifest, *, manager: str, subresource: str = "") -> Request:
    """Server-side apply of `manifest`, taking over fields that others hold.

    The guard stands in the manifest's own metadata: `ABSENT`, or the `uid` (and `resourceVersion`) that was seen.
    """
    metadata = manifest["metadata"]
    path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
    query = {"fieldManager": manager, "force": "true"}
    return Request("PATCH", path, query, as_yaml(msgspec.json.encode(manifest)), APPLY)


_UNLIKE_IN_YAML = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]")
"""In UTF-8: DEL, the C1 controls, the separators of lines and paragraphs, BOM, and two that are no characters."""


def as_yaml(json: bytes) -> bytes:
    """JSON that means the same when it is read as YAML, as the body of an apply is.

    Some characters may stand in a JSON string as they are, and are refused in YAML or folded into a space
    (YAML 1.1, 5.1 and 5.4); escaped they mean the same in both.
    """
    return _UNLIKE_IN_YAML.sub(lambda found: b"\\u%04x" % ord(found.group().decode()), json)


def question(resource: Resource, spec: Any) -> Request:
    """An object that the API server answers in its status and does not keep, as it does a TokenReview."""
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
    return Request("POST", resource.path(), body=msgspec.json.encode(body), content_type=JSON)


def delete(resource: Resource, namespace: str, name: str, *, uid: str, propagation: str = "Background") -> Request:
    """Delete the object if it is still the one with `uid`."""
    body = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": uid},
        "propagationPolicy": propagation,
    }
    return Request("DELETE", resource.path(namespace, name), body=msgspec.json.encode(body), content_type=JSON)
