"""The hops between a gateway and the router's pods: which of them is closed, in its own controller's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fusioninfer.api.types import Address
from fusioninfer.build.desired import RouterObjects
from fusioninfer.reconcile.gateway_api import (
    GATEWAYS,
    HTTP_ROUTES,
    POOLS,
    Claim,
    Condition,
    Gateway,
    HTTPRoute,
    Listener,
    ParentReference,
    Pool,
)
from fusioninfer.reconcile.snapshot import Child, Snapshot

SHADOWED = "Shadowed"


@dataclass(frozen=True, slots=True)
class ClosedHop:
    """What no request gets through."""

    reason: str
    message: str


def closed_hop(router: RouterObjects, snapshot: Snapshot) -> ClosedHop | None:
    """The first hop, seen from the client, that is closed; None if all are open, or if there is no gateway."""
    if router.route is None:
        return None
    name = router.route["metadata"]["name"]
    made, route, pool = (_ours(resource.kind, name, snapshot) for resource in (GATEWAYS, HTTP_ROUTES, POOLS))
    if not isinstance(route, HTTPRoute) or not isinstance(pool, Pool):
        return ClosedHop("NotCreated", f"HTTPRoute and InferencePool {name} do not both exist yet")
    return (
        (_gateway(made) if isinstance(made, Gateway) else None)
        or _route(route)
        or _shadow(route, snapshot.rivals)
        or _pool(pool)
    )


def closed_by_itself(hop: Gateway | HTTPRoute | Pool) -> ClosedHop | None:
    """Why no request gets through `hop`, whatever stands beside it; None if it is open."""
    match hop:
        case Gateway():
            return _gateway(hop)
        case HTTPRoute():
            return _route(hop)
        case Pool():
            return _pool(hop)


def addresses(router: RouterObjects | None, snapshot: Snapshot) -> tuple[Address, ...]:
    """Where gateways let clients in.

    What only a gateway of somebody else's knows is left out, so that these are relative references: without a scheme,
    and without a host too where the route names none.
    """
    if router is None or router.route is None:
        return ()
    route = _ours(HTTP_ROUTES.kind, router.route["metadata"]["name"], snapshot)
    if not isinstance(route, HTTPRoute):
        return ()
    made = _ours(GATEWAYS.kind, router.route["metadata"]["name"], snapshot)
    starts = tuple(dict.fromkeys(_starts(route, made if isinstance(made, Gateway) else None)))
    parents = dict.fromkeys(f"gateway {parent.namespace}/{parent.name}" for parent in route.parents)
    return tuple(
        Address(_named(parent, start, starts), f"{start}{router.path}" or "/") for parent in parents for start in starts
    )


def _named(parent: str, start: str, starts: Sequence[str]) -> str:
    """Names tell addresses apart: the API server refuses two of one name."""
    return parent if len(starts) == 1 else f"{parent}, {start.removeprefix('//')}"


def _starts(route: HTTPRoute, gateway: Gateway | None) -> Sequence[str]:
    """Scheme and host of each address, as far as they are known."""
    hosts = [host for host in route.spec.hostnames if not host.startswith("*")]
    if gateway is None:
        return [f"//{host}" for host in hosts] or [""]
    hosts = hosts or [_in_a_url(address.value) for address in gateway.status.addresses]
    return [f"{_SCHEMES[one.protocol]}://{host}{_port(one)}" for host in hosts for one in _listeners(gateway)]


def _in_a_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address  # of IPv6


_SCHEMES = {"HTTP": "http", "HTTPS": "https"}


def _listeners(gateway: Gateway) -> Iterable[Listener]:
    return (listener for listener in gateway.spec.listeners if listener.protocol in _SCHEMES)


def _port(listener: Listener) -> str:
    is_usual = (listener.protocol, listener.port) in (("HTTP", 80), ("HTTPS", 443))
    return "" if is_usual else f":{listener.port}"


def _ours(kind: str, name: str, snapshot: Snapshot) -> Child | None:
    child = snapshot.children.get((kind, name))
    return child if child is not None and snapshot.owns(child) else None


# --- one hop after the other --------------------------------------------------------------------------------------


def _gateway(made: Gateway) -> ClosedHop | None:
    name, class_name = made.metadata.name, made.spec.gatewayClassName
    nobody = f"no controller has taken it on; see that GatewayClass {class_name!r} exists and its controller runs"
    return _not_true(f"Gateway {name}", "Gateway", made.status.conditions, made.metadata.generation, nobody)


def _route(route: HTTPRoute) -> ClosedHop | None:
    """Every gateway that it names must have taken it on, or the clients of that gateway get no answer."""
    return next((closed for parent in route.parents if (closed := _by_parent(route, parent))), None)


def _by_parent(route: HTTPRoute, parent: ParentReference) -> ClosedHop | None:
    what, generation = f"HTTPRoute {route.metadata.name}", route.metadata.generation
    nobody = f"{parent} has not looked at it; see that this gateway exists and its controller runs"
    told = [one for one in route.status.parents if one.parentRef.within(route.metadata.namespace) == parent]
    if not told:
        return ClosedHop("RoutePending", f"{what}: {nobody}")
    verdicts = (_not_true(f"{what} at {parent}", "Route", one.conditions, generation, nobody) for one in told)
    return next((closed for closed in verdicts if closed is not None), None)


def _pool(pool: Pool) -> ClosedHop | None:
    """Gateways tell of it once a route leads them there. GKE's placeholder before that is of kind Status."""
    what, metadata = f"InferencePool {pool.metadata.name}", pool.metadata
    nobody = "no gateway has looked at it; see that the gateway supports the Gateway API inference extension"
    told = [one for one in pool.status.parents if one.parentRef.kind != "Status"]
    if not told:
        return ClosedHop("PoolPending", f"{what}: {nobody}")
    verdicts = (
        _not_true(
            f"{what} at {one.parentRef.within(metadata.namespace)}", "Pool", one.conditions, metadata.generation, nobody
        )
        for one in told
    )
    return next((closed for closed in verdicts if closed is not None), None)


def _not_true(
    what: str, hop: str, told: Sequence[Condition], generation: int, nobody: str
) -> ClosedHop | None:  # fmt: skip
    """The first condition of those that a `hop` needs that is not True of the present generation."""
    found = {condition.type: condition for condition in told}
    for kind in _NEEDED[hop]:
        condition = found.get(kind)
        if condition is None or condition.status == "Unknown":
            said = "" if condition is None or not condition.message else f" ({condition.message})"
            return ClosedHop(f"{hop}Pending", f"{what}: {kind} is not known yet: {nobody}{said}")
        if condition.observedGeneration is not None and condition.observedGeneration < generation:
            return ClosedHop(f"{hop}Pending", f"{what}: its present version was not looked at yet")
        if condition.status != "True":
            words = f"{what}: {kind} is {condition.status}, {condition.reason}: {condition.message}"
            return ClosedHop(f"{hop}{_CLOSED[kind]}", words + _HINTS.get(condition.reason, ""))
    return None


_NEEDED = {
    "Gateway": ("Accepted", "Programmed"),
    "Route": ("Accepted", "ResolvedRefs"),
    "Pool": ("Accepted", "ResolvedRefs"),
}
_CLOSED = {"Accepted": "NotAccepted", "Programmed": "NotProgrammed", "ResolvedRefs": "NotResolved"}
_HINTS = {
    "InvalidKind": "; this gateway knows no InferencePool: turn on its inference extension, or take another one; "
    "without httproute the router lets clients in by itself",
    "NotAllowedByListeners": "; its listeners' allowedRoutes must let this namespace in",
}


def _shadow(route: HTTPRoute, rivals: Iterable[HTTPRoute]) -> ClosedHop | None:
    for rival in sorted(rivals, key=lambda rival: rival.age):
        both = sorted(route.claims & rival.claims, key=str)
        lost = next((claim for claim in both if _loses(route, rival, claim)), None)
        if lost is not None:
            words = (
                f"HTTPRoute {route.metadata.name} does not get {lost} at {lost.parent}: HTTPRoute "
                f"{rival.metadata.namespace}/{rival.metadata.name} claims the same and comes first; change "
                "httproute.rules or hostnames, or remove that route"
            )
            return ClosedHop(SHADOWED, words)
    return None


def _loses(route: HTTPRoute, rival: HTTPRoute, claim: Claim) -> bool:
    return rival.age < route.age and rival.is_accepted_by(claim.parent)
