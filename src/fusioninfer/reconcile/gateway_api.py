"""HTTPRoute, Gateway, InferencePool: read as far as it matters whether requests get through them (Gateway API v1)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fusioninfer.kube.objects import OwnedMeta
from fusioninfer.kube.requests import Resource

# ruff: noqa: N815 - the names are the wire's

HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
POOLS = Resource("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools")


class Condition(msgspec.Struct, frozen=True):
    """What a controller says of an object of its."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    observedGeneration: int | None = None
    """Of which version it is said; it need not be said (meta/v1 Condition)."""


class ParentReference(msgspec.Struct, frozen=True):
    """A gateway, or one listener of it."""

    name: str
    namespace: str | None = None
    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    sectionName: str | None = None
    port: int | None = None

    def within(self, namespace: str) -> ParentReference:
        """As it is understood in an object of `namespace`."""
        return msgspec.structs.replace(self, namespace=self.namespace or namespace)

    def __str__(self) -> str:
        listener = "" if self.sectionName is None else f", listener {self.sectionName}"
        return f"{self.kind} {self.namespace}/{self.name}{listener}"


class ParentStatus(msgspec.Struct, frozen=True):
    """What the controller of one gateway says."""

    parentRef: ParentReference
    conditions: tuple[Condition, ...] = ()


class ParentsStatus(msgspec.Struct, frozen=True):
    """What the controllers of all gateways say."""

    parents: tuple[ParentStatus, ...] = ()


class PathMatch(msgspec.Struct, frozen=True):
    """Which paths."""

    type: str = "PathPrefix"
    value: str = "/"


class ValueMatch(msgspec.Struct, frozen=True):
    """Which values of a header or of a parameter."""

    name: str
    value: str = ""
    type: str = "Exact"


class Match(msgspec.Struct, frozen=True):
    """Which requests: all of it must be so."""

    path: PathMatch = PathMatch()
    headers: tuple[ValueMatch, ...] = ()
    queryParams: tuple[ValueMatch, ...] = ()
    method: str | None = None


class RouteRule(msgspec.Struct, frozen=True):
    """Requests of which one match is true."""

    matches: tuple[Match, ...] = ()


class HTTPRouteSpec(msgspec.Struct, frozen=True):
    """Which requests of which gateways; where they are led does not matter here."""

    parentRefs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = ()


class Claim(msgspec.Struct, frozen=True):
    """Requests that a route wants: of two routes with the same claim only one gets them."""

    parent: ParentReference
    hostname: str
    match: Match

    def __str__(self) -> str:
        where = f"{self.match.path.type} {self.match.path.value}"
        return f"{where} of host {self.hostname!r}" if self.hostname else where


class HTTPRoute(msgspec.Struct, frozen=True):
    """A route, ours or a stranger's."""

    metadata: OwnedMeta
    spec: HTTPRouteSpec = HTTPRouteSpec()
    status: ParentsStatus = ParentsStatus()
    claims: frozenset[Claim] = frozenset()
    """Of what is in `spec`; no field of the object."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "claims", frozenset(self._claims()))

    @property
    def parents(self) -> tuple[ParentReference, ...]:
        """The gateways that it asks for requests."""
        return tuple(parent.within(self.metadata.namespace) for parent in self.spec.parentRefs)

    @property
    def age(self) -> tuple[str, str, str]:
        """The lesser gets the requests that both claim: the older one, else the first by name (HTTPRouteRule)."""
        return self.metadata.creationTimestamp or "", self.metadata.namespace, self.metadata.name

    def is_accepted_by(self, parent: ParentReference) -> bool:
        """The controller of `parent` has taken it on."""
        return any(
            condition.type == "Accepted" and condition.status == "True"
            for told in self.status.parents
            if told.parentRef.within(self.metadata.namespace) == parent
            for condition in told.conditions
        )

    def _claims(self) -> Iterable[Claim]:
        for rule in self.spec.rules:
            for match in rule.matches or (Match(),):
                for parent in self.parents:
                    yield from (Claim(parent, host, _plain(match)) for host in self.spec.hostnames or ("",))


def _plain(match: Match) -> Match:
    """Two that mean the same are equal: the order of headers does not matter, nor a slash after a prefix."""
    path = match.path
    if path.type == "PathPrefix":
        path = msgspec.structs.replace(path, value=path.value.rstrip("/") or "/")
    headers = (msgspec.structs.replace(header, name=header.name.lower()) for header in match.headers)
    return Match(path, _ordered(headers), _ordered(match.queryParams), match.method)


def _ordered(values: Iterable[ValueMatch]) -> tuple[ValueMatch, ...]:
    return tuple(sorted(values, key=lambda value: (value.name, value.type, value.value)))


class Pool(msgspec.Struct, frozen=True):
    """An InferencePool."""

    metadata: OwnedMeta
    status: ParentsStatus = ParentsStatus()


class GatewayAddress(msgspec.Struct, frozen=True):
    """Where a gateway is reached."""

    value: str = ""


class Listener(msgspec.Struct, frozen=True):
    """A port of a gateway."""

    name: str
    port: int
    protocol: str = ""


class GatewaySpec(msgspec.Struct, frozen=True):
    """What is asked of a gateway."""

    gatewayClassName: str = ""
    listeners: tuple[Listener, ...] = ()


class GatewayStatus(msgspec.Struct, frozen=True):
    """What its controller says."""

    addresses: tuple[GatewayAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Gateway(msgspec.Struct, frozen=True):
    """A gateway of ours."""

    metadata: OwnedMeta
    spec: GatewaySpec = GatewaySpec()
    status: GatewayStatus = GatewayStatus()
