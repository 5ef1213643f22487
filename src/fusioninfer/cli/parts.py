"""What a cluster has of all that FusionInfer can use, and whether somebody operates, judged and shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusioninfer.cli.terminal import age
from fusioninfer.kube.objects import Object
from fusioninfer.kube.requests import Resource
from fusioninfer.reconcile.gateway_api import GATEWAYS, HTTP_ROUTES, POOLS
from fusioninfer.reconcile.snapshot import FOR_PROVIDERS, LEADER_WORKER_SETS, POD_GROUPS, SERVICES

# ruff: noqa: N815 - the names are the wire's

USABLE, UNUSABLE = 0, 1
"""Exit codes: 1 if InferenceServices are not served, or nobody works on them."""
STALE_SECONDS = 60.0
"""A Lease that nobody renewed for so long has no holder any more: four times as long as it lasts."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that FusionInfer uses if a cluster has it."""

    name: str
    kinds: tuple[Resource, ...]
    turns_on: str
    how: str
    """How to get it: what to type, or where it comes from."""
    runs: tuple[str, str] = ("", "")
    """Namespace and name of a Deployment that it usually has, whose image tells its version."""


RELEASES = "https://github.com/kubernetes-sigs"
PARTS = (
    Part(
        "LeaderWorkerSet",
        (LEADER_WORKER_SETS,),
        "copies of several nodes: multinode.nodeCount",
        f"kubectl apply --server-side -f {RELEASES}/lws/releases/download/v0.9.0/manifests.yaml",
        ("lws-system", "lws-controller-manager"),
    ),
    Part(
        "Volcano",
        (POD_GROUPS,),
        "gangs: schedulingStrategy.schedulerName volcano",
        "kubectl apply -f https://raw.githubusercontent.com/volcano-sh/volcano/v1.14.1/installer/"
        "volcano-development.yaml",
        ("volcano-system", "volcano-scheduler"),
    ),
    Part(
        "Gateway API inference extension",
        (POOLS,),
        "routers",
        f"kubectl apply -f {RELEASES}/gateway-api-inference-extension/releases/download/v1.4.0/manifests.yaml",
    ),
    Part(
        "Gateway API",
        (HTTP_ROUTES, GATEWAYS),
        "routers behind a gateway: httproute, gateway",
        f"kubectl apply --server-side -f {RELEASES}/gateway-api/releases/download/v1.6.1/standard-install.yaml",
    ),
    Part(
        "GKE", FOR_PROVIDERS[:2], "what GKE's gateways are told of engines", "it comes with GKE, for its own gateways"
    ),
    Part(
        "Istio", FOR_PROVIDERS[2:], "what its gateways are told of pickers", "it comes with Istio, for its own gateways"
    ),
)
"""The optional ones, the most wanted first."""


# --- what a cluster tells ------------------------------------------------------------------------------------------


class Named(msgspec.Struct, frozen=True):
    """What something in a list of discoveries is called."""

    name: str = ""


class ResourceDiscovery(msgspec.Struct, frozen=True):
    """A kind that is served, by its plural."""

    resource: str


class VersionDiscovery(msgspec.Struct, frozen=True):
    """A version of a group, and the kinds in it."""

    version: str
    resources: tuple[ResourceDiscovery, ...] = ()


class GroupDiscovery(msgspec.Struct, frozen=True):
    """A group (apidiscovery.k8s.io/v2 APIGroupDiscovery)."""

    metadata: Named
    versions: tuple[VersionDiscovery, ...] = ()


class Discovery(msgspec.Struct, frozen=True):
    """All groups."""

    items: tuple[GroupDiscovery, ...] = ()

    def versions_of(self, kind: Resource) -> tuple[str, ...]:
        """The versions in which `kind` is served; none if it is not."""
        return tuple(
            one.version
            for group in self.items
            if group.metadata.name == kind.group
            for one in group.versions
            if any(found.resource == kind.plural for found in one.resources)
        )


class ServerVersion(msgspec.Struct, frozen=True):
    """What /version says."""

    gitVersion: str = ""


class Container(msgspec.Struct, frozen=True):
    """A container, as far as its version goes."""

    image: str = ""


class PodSpec(msgspec.Struct, frozen=True):
    """The containers of a template."""

    containers: tuple[Container, ...] = ()


class Template(msgspec.Struct, frozen=True):
    """What a Deployment makes pods of."""

    spec: PodSpec = PodSpec()


class DeploymentSpec(msgspec.Struct, frozen=True):
    """What a Deployment asks for."""

    replicas: int = 1
    template: Template = Template()


class DeploymentStatus(msgspec.Struct, frozen=True):
    """How a Deployment is."""

    readyReplicas: int = 0


class Deployment(Object, frozen=True):
    """A Deployment that belongs to the installation of something."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def image(self) -> str:
        return next((container.image for container in self.spec.template.spec.containers), "")


class LeaseSpec(msgspec.Struct, frozen=True):
    """Who leads."""

    holderIdentity: str | None = None
    renewTime: str | None = None


class Lease(Object, frozen=True):
    """The operator's Lease."""

    spec: LeaseSpec = LeaseSpec()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cluster told, as far as it may be asked."""

    version: str
    discovery: Discovery
    bundles: Mapping[str, str] = field(default_factory=dict)
    """By CRD, the release that it says it is of."""
    images: Mapping[str, str] = field(default_factory=dict)
    """By part, the image of its Deployment."""
    operators: tuple[Deployment, ...] = ()
    leases: tuple[Lease, ...] = ()
    unread: tuple[str, ...] = ()
    """What could not be asked about the operator, each in one sentence."""


# --- what that means ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operator:
    """Whether somebody works on services; None: that may not be known."""

    is_there: bool | None
    words: str


def operator_of(seen: Seen, now: datetime) -> Operator:
    """Who operates, by the Lease and by the Deployment."""
    installed = [
        f"Deployment {one.metadata.namespace}/{one.metadata.name}: {one.status.readyReplicas}/{one.spec.replicas} "
        f"pods ready, {one.image}"
        for one in seen.operators
    ]
    leading = [lease for lease in seen.leases if lease.spec.holderIdentity and lease.spec.renewTime]
    held = [(lease, _seconds_since(lease.spec.renewTime or "", now)) for lease in leading]
    leaders = [
        f"{lease.spec.holderIdentity} leads (Lease {lease.metadata.namespace}/{lease.metadata.name}, renewed "
        f"{age(lease.spec.renewTime or '', now)} ago)"
        for lease, _ in held
    ]
    words = "; ".join((*installed, *leaders))
    if any(seconds < STALE_SECONDS for _, seconds in held):
        return Operator(True, words)
    if seen.leases or not seen.unread:
        return Operator(False, f"nobody leads{f' any more: {words}' if words else ''}; {START}")
    if any(one.status.readyReplicas for one in seen.operators):
        return Operator(True, words)
    return Operator(None, f"that may not be known: {'; '.join(seen.unread)}")


START = "install the chart, or run `fusioninfer operator`"


def _seconds_since(moment: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(moment)).total_seconds()


@dataclass(frozen=True, slots=True)
class Found:
    """One part, and whether the cluster has it."""

    part: Part
    is_served: bool
    words: str
    """Which version; or what is served instead."""


def found_of(part: Part, seen: Seen) -> Found:
    """Whether `part` is there, in the version that is needed."""
    served = {kind: seen.discovery.versions_of(kind) for kind in part.kinds}
    missing = [kind for kind, versions in served.items() if kind.version not in versions]
    others = [f"{kind.kind} is served as {', '.join(served[kind])}" for kind in missing if served[kind]]
    needed = [f"{kind.kind} {kind.api_version}" for kind in missing]
    if missing:
        return Found(part, False, f"needs {' and '.join(needed)}" + "".join(f"; {words}" for words in others))
    release = next((r for kind in part.kinds if (r := seen.bundles.get(f"{kind.plural}.{kind.group}"))), "")
    image = seen.images.get(part.name, "")
    versions = " and ".join(dict.fromkeys(kind.api_version for kind in part.kinds))
    told = release or image.rpartition("/")[2]
    return Found(part, True, f"{versions}{f', {told}' if told else ''}")


OURS = Part(
    "FusionInfer", (SERVICES,), "InferenceServices", "fusioninfer crd | kubectl apply --server-side -f -"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What a cluster has."""

    version: str
    ours: Found
    operator: Operator
    parts: tuple[Found, ...]

    @property
    def exit_code(self) -> int:
        return USABLE if self.ours.is_served and self.operator.is_there is not False else UNUSABLE


def report_of(seen: Seen, now: datetime) -> Report:
    """What was seen, judged."""
    parts = tuple(found_of(part, seen) for part in PARTS)
    return Report(seen.version, found_of(OURS, seen), operator_of(seen, now), parts)


def shown(report: Report) -> RenderableType:
    """A line for each part, and how to get what is missing."""
    lines = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("PART", "", "VERSION", "TURNS ON"):
        lines.add_column(title, header_style="bold")
    for found in (report.ours, *report.parts):
        has = Text("yes", "green") if found.is_served else Text("no", "red" if found is report.ours else "yellow")
        lines.add_row(found.part.name, has, found.words, found.part.turns_on)
    is_there = report.operator.is_there
    style = "yellow" if is_there is None else "green" if is_there else "red"
    missing = [found.part for found in (report.ours, *report.parts) if not found.is_served]
    return Group(
        f"Kubernetes {report.version}",
        Text.assemble("operator: ", (report.operator.words, style)),
        Text(),
        lines,
        *([Text()] if missing else []),
        *(Text(f"to get {part.name}: {part.how}") for part in missing),
    )
