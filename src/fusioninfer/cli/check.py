"""`fusioninfer check`: what a cluster has of all that FusionInfer can use, what it turns on, and who operates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from rich.console import Console

from fusioninfer.cli.look import Listed, Page
from fusioninfer.cli.parts import PARTS, Deployment, Discovery, Lease, Part, Seen, ServerVersion, report_of, shown
from fusioninfer.cli.terminal import put, utc_now
from fusioninfer.kube import errors, requests
from fusioninfer.kube.objects import Object
from fusioninfer.kube.requests import Kube, Request, Resource
from fusioninfer.reconcile.snapshot import DEPLOYMENTS

LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
NAME = "fusioninfer"
"""Of the operator's Lease and Deployment, unless whoever installed it chose another."""
OPERATORS_LABEL = f"app.kubernetes.io/name={NAME}"
USUAL_NAMESPACE = "fusioninfer-system"
DISCOVERY = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
"""All groups, versions and kinds in one answer (Kubernetes 1.30; every user may ask for it)."""


async def check(kube: Kube, console: Console) -> int:
    """Print what the cluster has; the exit code. Raises KubeError."""
    report = report_of(await look_around(kube), utc_now())
    put(shown(report), console)
    return report.exit_code


class CustomResourceDefinitions(msgspec.Struct, frozen=True):
    """All CRDs, of which only the metadata is asked for."""

    items: tuple[Object, ...] = ()


async def look_around(kube: Kube) -> Seen:
    """All of it, side by side. Raises KubeError if there is no answer at all."""
    version, discovery, bundles, images, operators, leases = await asyncio.gather(
        kube.send(Request("GET", "/version")),
        kube.send(Request("GET", "/apis", accept=DISCOVERY)),
        _bundles(kube),
        asyncio.gather(*(_image(kube, part) for part in PARTS)),
        _named_so(kube, DEPLOYMENTS, {"labelSelector": OPERATORS_LABEL}),
        _named_so(kube, LEASES, {"fieldSelector": f"metadata.name={NAME}"}),
    )
    return Seen(
        msgspec.json.decode(version, type=ServerVersion).gitVersion,
        msgspec.json.decode(discovery, type=Discovery),
        bundles,
        {part.name: image for part, image in zip(PARTS, images, strict=True) if image},
        operators.read_as(Deployment),
        leases.read_as(Lease),
        tuple(f"{one.resource.kind}: {one.unread}" for one in (operators, leases) if one.unread and not one.items),
    )


async def _bundles(kube: Kube) -> Mapping[str, str]:
    """Gateway API and its inference extension write their release onto their CRDs."""
    request = Request(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", accept=requests.METADATA_ONLY
    )  # fmt: skip
    try:
        found = msgspec.json.decode(await kube.send(request), type=CustomResourceDefinitions)
    except errors.ApiError:
        return {}
    return {
        one.metadata.name: release
        for one in found.items
        for key, release in one.metadata.annotations.items()
        if key.endswith("/bundle-version")
    }


async def _image(kube: Kube, part: Part) -> str:
    namespace, name = part.runs
    if not name:
        return ""
    try:
        return msgspec.json.decode(await kube.send(requests.get(DEPLOYMENTS, namespace, name)), type=Deployment).image
    except errors.ApiError:
        return ""


async def _named_so(kube: Kube, resource: Resource, query: Mapping[str, str]) -> Listed:
    """The operator's objects wherever they are; or, for who may not look everywhere, where they usually are."""
    try:
        page = msgspec.json.decode(await kube.send(Request("GET", resource.path(), query)), type=Page)
        return Listed(resource, page.items)
    except errors.Forbidden as refusal:
        try:
            body = await kube.send(requests.get(resource, USUAL_NAMESPACE, NAME))
        except errors.ApiError:
            return Listed(resource, unread=refusal.status.message)
        return Listed(resource, (msgspec.Raw(body),), unread=refusal.status.message)
