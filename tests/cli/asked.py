"""An API server in memory that counts what it is asked, and takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container
from dataclasses import dataclass, field

import msgspec

from fusioninfer.api.service import Manifest
from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.snapshot import CHILDREN, PODS, SERVICES
from tests import make
from tests.stories.played import a_server

CALL_SECONDS = 0.2


@dataclass(slots=True)
class Asked:
    """`kube`, each call of which takes CALL_SECONDS of virtual time, and which knows not or forbids some paths."""

    kube: Kube
    forbidden: Container[str] = ()
    """Plural names."""
    unserved: Container[str] = ()
    paths: list[str] = field(default_factory=list)

    async def send(self, request: Request) -> bytes:
        self.paths.append(f"{request.method} {request.path}")
        await asyncio.sleep(CALL_SECONDS)
        plural = next((part for part in request.path.split("/") if part in PLURALS), "")
        if plural in self.forbidden:
            raise errors.Forbidden(errors.Status(code=403, message=f"cannot list resource {plural!r}"))
        if plural in self.unserved:
            raise errors.NotFound(errors.Status(code=404, message="the server could not find the requested resource"))
        return await self.kube.send(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self.kube.stream(request)


PLURALS = {"nodes", *(resource.plural for resource in (SERVICES, PODS, *CHILDREN.values()))}


async def a_cluster(
    *services: Manifest, many: int = 0, forbidden: Container[str] = (), unserved: Container[str] = ()
) -> Asked:
    """A cluster with `services`, and so many others."""
    server = a_server()
    others = (make.raw_service(name=f"other-{number}") for number in range(many))
    for raw in (*services, *others):
        manifest = {key: value for key, value in raw.items() if key not in ("status",)}
        metadata = {"name": raw["metadata"]["name"], "namespace": raw["metadata"]["namespace"]}
        await server.send(requests.apply(SERVICES, {**manifest, "metadata": metadata}, manager="kubectl"))
        if "status" in raw:
            status = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": metadata}
            applied = {**status, "status": msgspec.to_builtins(raw["status"])}
            await server.send(requests.apply(SERVICES, applied, manager="operator", subresource="status"))
    return Asked(server, forbidden, unserved)
