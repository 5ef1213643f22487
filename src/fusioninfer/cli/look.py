"""What is asked: one service and what belongs to it, side by side, as far as it may be read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from fusioninfer.api import names, types
from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import Kube, Resource
from fusioninfer.reconcile.snapshot import PODS, READ_AS, SERVICES, Child, Owned, Pod, Service

Item = TypeVar("Item")


class Missing(Exception):
    """There is nothing to show; says what to do."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of one service at one moment."""

    service: Service
    pods: tuple[Pod, ...] = ()
    children: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    """By kind and name, of the kinds that were asked for: everything with the service's label."""
    unserved: frozenset[str] = frozenset()
    """Kinds that the cluster does not know."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """By kind, why it could not be read."""

    def of_kind(self, kind: type[Item]) -> tuple[Item, ...]:
        """The children that were read as `kind`."""
        return tuple(child for child in self.children.values() if isinstance(child, kind))


async def look(kube: Kube, namespace: str, name: str, kinds: Sequence[Resource]) -> Looked:
    """The service, its pods and its children of `kinds`. Raises Missing if there is no such service, and KubeError."""
    label = f"{names.SERVICE_LABEL}={name}"
    service, (pods, *rest) = await asyncio.gather(
        read_service(kube, namespace, name),
        asyncio.gather(*(listed(kube, kind, namespace, label) for kind in (PODS, *kinds))),
    )
    return Looked(
        service,
        pods.read_as(Pod),
        {
            (one.resource.kind, child.metadata.name): child
            for one in rest
            for child in one.read_as(READ_AS.get(one.resource, Owned))
        },
        frozenset(one.resource.kind for one in rest if not one.is_served),
        {one.resource.kind: one.unread for one in (pods, *rest) if one.unread},
    )


async def read_service(kube: Kube, namespace: str, name: str) -> Service:
    """The service; raises Missing, and KubeError."""
    try:
        return msgspec.json.decode(await kube.send(requests.get(SERVICES, namespace, name)), type=Service)
    except errors.NotFound as error:
        raise Missing(_absent(error, namespace, name)) from error


def _absent(error: errors.NotFound, namespace: str, name: str) -> str:
    if error.status.details is not None and error.status.details.name:
        return f'{types.PLURAL} "{name}" not found in namespace {namespace}; `fusioninfer status -A` lists all'
    return NOT_SERVED


NOT_SERVED = (
    f"the cluster does not know {types.KIND} ({types.API_VERSION}): FusionInfer is not installed; `fusioninfer check` "
    "says what there is"
)


# --- lists --------------------------------------------------------------------------------------------------------


class ListMeta(msgspec.Struct, frozen=True):
    """Where the next page begins."""

    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, frozen=True):
    """One page of a list; its items as they are."""

    metadata: ListMeta = ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects of one kind, or why there are none to be seen."""

    resource: Resource
    items: tuple[msgspec.Raw, ...] = ()
    is_served: bool = True
    unread: str = ""

    def read_as(self, kind: type[Item]) -> tuple[Item, ...]:
        """The objects, as far as `kind` reads them."""
        return tuple(msgspec.json.decode(item, type=kind) for item in self.items)


async def listed(kube: Kube, resource: Resource, namespace: str, labels: str = "") -> Listed:
    """All of a kind in `namespace`, or everywhere if that is empty. What may not be read is said in the answer.

    Raises KubeError if the API server does not answer, or says no for another reason than a missing right.
    """
    items: list[msgspec.Raw] = []
    token = ""
    try:
        while True:
            request = requests.list_page(resource, namespace, labels=labels, continue_token=token)
            page = msgspec.json.decode(await kube.send(request), type=Page)
            items += page.items
            if not (token := page.metadata.continue_):
                return Listed(resource, tuple(items))
    except errors.NotFound:
        return Listed(resource, is_served=False)
    except errors.Forbidden as refusal:
        return Listed(resource, unread=refusal.status.message)
