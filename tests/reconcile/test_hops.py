"""Behind a gateway: which hop is closed, in whose words, and where clients get in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.api.types import Condition, InferenceServiceStatus
from fusioninfer.build.desired import desired_objects
from fusioninfer.reconcile.apply import Outcome
from fusioninfer.reconcile.facts import facts_of
from fusioninfer.reconcile.phases import Seen
from fusioninfer.reconcile.plan import plan_changes
from fusioninfer.reconcile.status import status_of
from tests import make

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
FOREIGN, OWN = make.behind_a_gateway(), make.with_own_gateway()
GOOD = make.told("Accepted", "ResolvedRefs")
ITS_OWN = {"name": "qwen-entry", "namespace": "default"}


def seen(
    router: Manifest = FOREIGN,
    *,
    parents: tuple[Manifest, ...] | None = None,
    rivals: tuple[Manifest, ...] = (),
    without: str = "",
    is_ready: bool = True,
    **changes: Manifest,
) -> InferenceServiceStatus:
    """The status of a service behind a gateway that is open, but for `changes`: a kind and parts of such a child.

    `parents`: of which gateways route and pool are said to be good.
    """
    raw = make.raw_service(make.a_role(), router)
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
    assert desired.router is not None
    if parents is None:
        parents = (make.by_parent(*GOOD, **ITS_OWN),) if "gateway" in router else (make.by_parent(*GOOD),)
    alive = (make.open_hop(make.applied(one), *parents) for one in desired.manifests if one["kind"] != without)
    children = tuple(_changed(live, changes.get(live["kind"], {})) for live in alive)
    pod = make.a_router_pod(template=make.mark_of(desired.router.workload), ready=is_ready)
    snapshot = make.a_snapshot(raw, children=children, pods=(make.a_ready_pod(), pod), rivals=rivals)
    facts = facts_of(desired, snapshot)
    return status_of(Seen(facts, plan_changes(desired, snapshot), Outcome(), NOON, None))


def _changed(live: Manifest, parts: Manifest) -> Manifest:
    return {**live, **{part: {**live[part], **fields} for part, fields in parts.items()}}


def said(status: InferenceServiceStatus, kind: str = "RouterReady") -> Condition:
    return next(condition for condition in status.conditions if condition.type == kind)


def answer(status: InferenceServiceStatus, kind: str = "RouterReady") -> str:
    return f"{said(status, kind).status}/{said(status, kind).reason}"


def of_parents(*parents: Manifest) -> Manifest:
    return {"status": {"parents": list(parents)}}


# --- open ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("router", "through"),
    [(FOREIGN, "gateway infra/public"), (OWN, "gateway default/qwen-entry")],
    ids=["somebody else's gateway", "its own"],
)
def test_a_service_whose_hops_are_all_open_is_ready(router: Manifest, through: str) -> None:
    ready = seen(router)

    assert answer(ready, "Ready") == "True/Ready"
    assert answer(ready, "Available") == "True/Serving"
    assert answer(ready) == "True/Routing"
    assert said(ready).message == f"{through} has route and pool; the picker is ready in 1 of 1 pods"


def test_several_gateways_are_all_named() -> None:
    two = make.behind_a_gateway(route={"parentRefs": [{"name": "a"}, {"name": "b", "namespace": "infra"}]})
    parents = (make.by_parent(*GOOD, name="a", namespace="default"), make.by_parent(*GOOD, name="b"))

    assert said(seen(two, parents=parents)).message.startswith("gateway default/a and gateway infra/b has route")


def test_a_gateway_without_an_address_is_not_taken_for_an_envoy_of_the_routers_own() -> None:
    nowhere = seen(OWN, Gateway={"status": {"addresses": []}})

    assert answer(nowhere) == "True/Routing"
    assert said(nowhere).message == "the gateway has route and pool; the picker is ready in 1 of 1 pods"
    assert [address.name for address in nowhere.addresses or ()] == ["cluster"]


# --- closed -------------------------------------------------------------------------------------------------------

ROUTE, POOL = ("Accepted", "ResolvedRefs"), ("Accepted", "ResolvedRefs")
NO_CONTROLLER = "no controller has taken it on; see that GatewayClass 'played' exists and its controller runs"
NOT_LOOKED_AT = "Gateway infra/public has not looked at it; see that this gateway exists and its controller runs"
NO_EXTENSION = "no gateway has looked at it; see that the gateway supports the Gateway API inference extension"


def a_gateway(*conditions: Manifest) -> Manifest:
    return {"Gateway": {"status": {"conditions": list(conditions)}}}


def a_parent(kind: str, **changes: str) -> Manifest:
    return {kind: of_parents(make.by_parent(*make.told("Accepted", "ResolvedRefs", **changes)))}


UNKNOWN = "Accepted is not known yet"


@pytest.mark.parametrize(
    ("router", "changes", "reason", "words"),
    [
        pytest.param(
            OWN, a_gateway(), "GatewayPending", f"Gateway qwen-entry: {UNKNOWN}: {NO_CONTROLLER}", id="no controller"
        ),
        pytest.param(
            OWN, a_gateway(*make.told("Accepted", "Programmed", Accepted="Unknown/Pending")), "GatewayPending",
            f"Gateway qwen-entry: {UNKNOWN}: {NO_CONTROLLER} (Accepted, as it said)",
            id="as the CRD fills it in, until a controller looks",
        ),
        pytest.param(
            OWN, a_gateway(*make.told("Accepted")), "GatewayPending",
            f"Gateway qwen-entry: Programmed is not known yet: {NO_CONTROLLER}", id="accepted and not programmed yet",
        ),
        pytest.param(
            OWN, a_gateway(*make.told("Accepted", "Programmed", Accepted="False/ListenersNotValid")),
            "GatewayNotAccepted",
            "Gateway qwen-entry: Accepted is False, ListenersNotValid: Accepted, as it said", id="gateway refused",
        ),
        pytest.param(
            OWN, a_gateway(*make.told("Accepted", "Programmed", Programmed="False/AddressNotAssigned")),
            "GatewayNotProgrammed",
            "Gateway qwen-entry: Programmed is False, AddressNotAssigned: Programmed, as it said",
            id="gateway without an address",
        ),
        pytest.param(
            FOREIGN, {"HTTPRoute": of_parents()}, "RoutePending", f"HTTPRoute qwen-entry: {NOT_LOOKED_AT}",
            id="nobody has looked at the route",
        ),
        pytest.param(
            FOREIGN, {"HTTPRoute": of_parents(make.by_parent(*GOOD, name="another"))}, "RoutePending",
            f"HTTPRoute qwen-entry: {NOT_LOOKED_AT}", id="another gateway has looked at the route",
        ),
        pytest.param(
            FOREIGN, {"HTTPRoute": of_parents(make.by_parent(*make.told("Accepted")))}, "RoutePending",
            f"HTTPRoute qwen-entry at Gateway infra/public: ResolvedRefs is not known yet: {NOT_LOOKED_AT}",
            id="half a verdict on the route",
        ),
        pytest.param(
            FOREIGN, a_parent("HTTPRoute", Accepted="False/NotAllowedByListeners"), "RouteNotAccepted",
            "HTTPRoute qwen-entry at Gateway infra/public: Accepted is False, NotAllowedByListeners: Accepted, as it "
            "said; its listeners' allowedRoutes must let this namespace in",
            id="the gateway lets the namespace not in",
        ),
        pytest.param(
            FOREIGN, a_parent("HTTPRoute", Accepted="False/NoMatchingListenerHostname"), "RouteNotAccepted",
            "HTTPRoute qwen-entry at Gateway infra/public: Accepted is False, NoMatchingListenerHostname: Accepted, as "
            "it said",
            id="no listener of that hostname",
        ),
        pytest.param(
            FOREIGN, a_parent("HTTPRoute", ResolvedRefs="False/BackendNotFound"), "RouteNotResolved",
            "HTTPRoute qwen-entry at Gateway infra/public: ResolvedRefs is False, BackendNotFound: ResolvedRefs, as it "
            "said",
            id="a backend of the user's own is missing",
        ),
        pytest.param(
            FOREIGN, a_parent("HTTPRoute", ResolvedRefs="False/InvalidKind"), "RouteNotResolved",
            "HTTPRoute qwen-entry at Gateway infra/public: ResolvedRefs is False, InvalidKind: ResolvedRefs, as it "
            "said; this gateway knows no InferencePool: turn on its inference extension, or take another one; without "
            "httproute the router lets clients in by itself",
            id="a gateway that knows no pools",
        ),
        pytest.param(
            FOREIGN, {"InferencePool": of_parents()}, "PoolPending", f"InferencePool qwen-entry: {NO_EXTENSION}",
            id="nobody has looked at the pool",
        ),
        pytest.param(
            FOREIGN, {"InferencePool": of_parents(make.by_parent(*GOOD, name="default", kind="Status"))},
            "PoolPending", f"InferencePool qwen-entry: {NO_EXTENSION}", id="what GKE's CRD fills in",
        ),
        pytest.param(
            FOREIGN, a_parent("InferencePool", Accepted="False/NotSupportedByParent"), "PoolNotAccepted",
            "InferencePool qwen-entry at Gateway infra/public: Accepted is False, NotSupportedByParent: Accepted, as "
            "it said",
            id="pool refused",
        ),
        pytest.param(
            FOREIGN, a_parent("InferencePool", ResolvedRefs="False/InvalidExtensionRef"), "PoolNotResolved",
            "InferencePool qwen-entry at Gateway infra/public: ResolvedRefs is False, InvalidExtensionRef: "
            "ResolvedRefs, as it said",
            id="the picker was not found",
        ),
    ],
)  # fmt: skip
def test_a_closed_hop_closes_the_service_with_its_controllers_words(
    router: Manifest, changes: Manifest, reason: str, words: str
) -> None:
    closed = seen(router, **changes)

    assert said(closed).message == words
    for kind in ("RouterReady", "Available", "Ready"):
        assert answer(closed, kind) == f"False/{reason}"
        assert said(closed, kind).message == words
    assert answer(closed, "WorkloadsReady") == "True/AllReplicasReady"
    assert answer(closed, "Accepted") == "True/Accepted"
    assert "Stalled" not in {condition.type for condition in closed.conditions}


@pytest.mark.parametrize("kind", ["HTTPRoute", "InferencePool", "Gateway"])
def test_what_was_said_of_an_earlier_version_is_not_said_of_this_one(kind: str) -> None:
    hop = {"HTTPRoute": "Route", "InferencePool": "Pool", "Gateway": "Gateway"}[kind]

    changes: Any = {kind: {"metadata": {"generation": 2}}}
    changed = seen(OWN, **changes)

    assert answer(changed) == f"False/{hop}Pending"
    assert said(changed).message.endswith(": its present version was not looked at yet")


def test_a_controller_that_says_no_version_is_taken_at_its_word() -> None:
    terse = [{key: value for key, value in one.items() if key != "observedGeneration"} for one in GOOD]

    assert answer(seen(InferencePool=of_parents(make.by_parent(*terse)))) == "True/Routing"


@pytest.mark.parametrize("kind", ["HTTPRoute", "InferencePool"])
def test_what_is_not_there_yet_is_not_asked_about(kind: str) -> None:
    missing = seen(FOREIGN, without=kind)

    assert answer(missing) == "False/NotCreated"
    assert said(missing).message == "HTTPRoute and InferencePool qwen-entry do not both exist yet"


def test_a_route_of_somebody_elses_with_our_name_opens_nothing() -> None:
    theirs = {"metadata": {"ownerReferences": [{"uid": "x", "kind": "Job", "name": "x", "controller": True}]}}

    assert answer(seen(FOREIGN, HTTPRoute=theirs)) == "False/NotCreated"


@pytest.mark.parametrize("at", [0, 1])
def test_every_gateway_that_is_named_must_have_taken_the_route_on(at: int) -> None:
    both = make.behind_a_gateway(route={"parentRefs": [{"name": "a"}, {"name": "b"}]})
    told = [make.by_parent(*GOOD, name=name, namespace="default") for name in ("a", "b")]
    refused = make.told(*ROUTE, Accepted="False/NotAllowedByListeners")
    told[at] = {**told[at], "conditions": refused}

    closed = seen(both, HTTPRoute=of_parents(*told))

    assert answer(closed) == "False/RouteNotAccepted"
    assert said(closed).message.startswith(f"HTTPRoute qwen-entry at Gateway default/{'ab'[at]}: Accepted is False")
    assert answer(seen(both, HTTPRoute=of_parents(told[1 - at]))) == "False/RoutePending"


def test_listeners_of_one_gateway_are_looked_at_each_for_itself() -> None:
    parents = [{"name": "public", "namespace": "infra", "sectionName": name} for name in ("http", "https")]
    router = make.behind_a_gateway(route={"parentRefs": parents})
    http, https = (make.by_parent(*GOOD, sectionName=name) for name in ("http", "https"))

    assert answer(seen(router, HTTPRoute=of_parents(http, https))) == "True/Routing"
    half = seen(router, HTTPRoute=of_parents(http))
    assert answer(half) == "False/RoutePending"
    assert "Gateway infra/public, listener https has not looked at it" in said(half).message


def test_a_refusal_by_one_of_two_controllers_of_a_pool_closes_it() -> None:
    bad = make.by_parent(*make.told(*POOL, Accepted="False/NotSupportedByParent"), name="b")

    assert answer(seen(InferencePool=of_parents(make.by_parent(*GOOD), bad))) == "False/PoolNotAccepted"


def test_the_picker_is_asked_about_before_any_hop() -> None:
    down = seen(FOREIGN, is_ready=False, HTTPRoute=of_parents())

    assert answer(down).startswith("False/Pod")
    assert "0 of 1 pods are ready" in said(down).message


def test_the_first_closed_hop_from_the_client_is_named() -> None:
    everything = seen(OWN, HTTPRoute=of_parents(), InferencePool=of_parents(), **a_gateway())
    later = seen(OWN, HTTPRoute=of_parents(), InferencePool=of_parents())

    assert (answer(everything), answer(later)) == ("False/GatewayPending", "False/RoutePending")


def test_a_router_that_lets_clients_in_by_itself_asks_no_gateway() -> None:
    assert answer(seen(make.a_router(), InferencePool=of_parents())) == "True/Routing"


# --- another route that claims the same ---------------------------------------------------------------------------

OLD, YOUNG = "2026-11-24T10:00:00Z", "2026-11-24T14:00:00Z"
OURS_SINCE = {"metadata": {"creationTimestamp": "2026-11-24T12:00:00Z"}}
PUBLIC: Manifest = {"name": "public", "namespace": "infra"}


def a_rival(
    path: str = "/default/qwen", *, parent: Manifest = PUBLIC, is_accepted: bool = True, age: str = OLD,
    name: str = "theirs", namespace: str = "default", **route: Any,
) -> Manifest:  # fmt: skip
    verdict = "True/Accepted" if is_accepted else "False/NotAllowedByListeners"
    spec = {"parentRefs": [parent], "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": path}}]}], **route}
    told = make.by_parent(*make.told("Accepted", Accepted=verdict), **parent)
    return make.a_route(name, route=spec, age=age, namespace=namespace, parents=[told])


def shadowed(rival: Manifest, router: Manifest = FOREIGN, **kwargs: Any) -> InferenceServiceStatus:
    return seen(router, rivals=(rival,), HTTPRoute={**OURS_SINCE, **kwargs})


@pytest.mark.parametrize(
    ("rival", "is_shadowed"),
    [
        pytest.param(a_rival(), True, id="older"),
        pytest.param(a_rival("/default/qwen/"), True, id="with a slash at its end"),
        pytest.param(a_rival(age=YOUNG), False, id="younger"),
        pytest.param(a_rival(is_accepted=False), False, id="not accepted by the gateway"),
        pytest.param(a_rival(age="2026-11-24T12:00:00Z", name="a"), True, id="as old, before ours by name"),
        pytest.param(a_rival(age="2026-11-24T12:00:00Z", name="z"), False, id="as old, after ours by name"),
        pytest.param(a_rival(age="2026-11-24T12:00:00Z", name="z", namespace="a"), True, id="as old, by its namespace"),
        pytest.param(a_rival("/default"), False, id="a shorter path"),
        pytest.param(a_rival("/default/qwen/v1"), False, id="a longer path"),
        pytest.param(a_rival(parent={"name": "another", "namespace": "infra"}), False, id="another gateway"),
        pytest.param(a_rival(parent={**PUBLIC, "sectionName": "http"}), False, id="one listener only"),
        pytest.param(a_rival(hostnames=["a.example"]), False, id="a hostname"),
        pytest.param(
            a_rival(rules=[{"matches": [{"path": {"type": "Exact", "value": "/default/qwen"}}]}]), False, id="exactly"
        ),
        pytest.param(
            a_rival(rules=[{"matches": [{"path": {"value": "/default/qwen"}, "headers": [{"name": "a"}]}]}]), False,
            id="with a header",
        ),
    ],
)  # fmt: skip
def test_a_route_that_comes_first_takes_the_requests(rival: Manifest, is_shadowed: bool) -> None:
    assert answer(shadowed(rival)) == ("False/Shadowed" if is_shadowed else "True/Routing")


def test_it_is_said_who_takes_which_requests() -> None:
    closed = shadowed(a_rival(namespace="web", name="catch"))

    assert said(closed).message == (
        "HTTPRoute qwen-entry does not get PathPrefix /default/qwen at Gateway infra/public: HTTPRoute web/catch "
        "claims the same and comes first; change httproute.rules or hostnames, or remove that route"
    )
    assert answer(closed, "Available") == "False/Shadowed"


def test_hostnames_are_compared_one_by_one() -> None:
    router = make.behind_a_gateway(route={"hostnames": ["a.example", "b.example"]})

    closed = shadowed(a_rival(hostnames=["b.example", "c.example"]), router)
    assert "PathPrefix /default/qwen of host 'b.example'" in said(closed).message
    assert answer(shadowed(a_rival(hostnames=["c.example"]), router)) == "True/Routing"
    assert answer(shadowed(a_rival(), router)) == "True/Routing"


def test_of_several_that_come_first_the_first_is_named() -> None:
    rivals = (a_rival(name="second", age="2026-11-24T11:00:00Z"), a_rival(name="first", age=OLD))

    assert "HTTPRoute default/first claims" in said(seen(rivals=rivals, HTTPRoute=OURS_SINCE)).message


def test_only_the_gateway_that_both_name_decides() -> None:
    """The rival is accepted by a gateway of its own, and not by the one that we share."""
    rival = a_rival(parentRefs=[PUBLIC, {"name": "private", "namespace": "infra"}])
    rival["status"]["parents"] = [make.by_parent(*GOOD, name="private")]

    assert answer(shadowed(rival)) == "True/Routing"


# --- addresses ----------------------------------------------------------------------------------------------------


def addresses(status: InferenceServiceStatus) -> list[tuple[str, str]]:
    assert status.addresses
    first, *others = status.addresses
    assert (first.name, first.url) == ("cluster", "http://qwen.default.svc")
    assert status.url == first.url
    names = [address.name for address in status.addresses]
    assert len(names) == len(set(names)), "the API server refuses two of one name"
    return [(address.name, address.url) for address in others]


RULES = {"rules": [{"matches": [{"path": {"value": "/v1"}}]}]}
TWO_SECTIONS = {"parentRefs": [{**PUBLIC, "sectionName": name} for name in ("http", "https")]}


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        pytest.param({}, [("gateway infra/public", "/default/qwen")], id="no hostname"),
        pytest.param({"hostnames": ["a.example"]}, [("gateway infra/public", "//a.example/default/qwen")], id="one"),
        pytest.param(
            {"hostnames": ["a.example", "b.example"]},
            [
                ("gateway infra/public, a.example", "//a.example/default/qwen"),
                ("gateway infra/public, b.example", "//b.example/default/qwen"),
            ],
            id="two",
        ),
        pytest.param({"hostnames": ["*.example"]}, [("gateway infra/public", "/default/qwen")], id="any of a domain"),
        pytest.param(RULES, [("gateway infra/public", "/")], id="own rules"),
        pytest.param(
            {**RULES, "hostnames": ["a.example"]}, [("gateway infra/public", "//a.example")], id="own rules and a host"
        ),
        pytest.param(TWO_SECTIONS, [("gateway infra/public", "/default/qwen")], id="two listeners of one gateway"),
        pytest.param(
            {"parentRefs": [{"name": "a"}, {"name": "b"}]},
            [("gateway default/a", "/default/qwen"), ("gateway default/b", "/default/qwen")],
            id="two gateways of its own namespace",
        ),
    ],
)
def test_of_somebody_elses_gateway_only_what_the_route_says_is_known(
    route: Manifest, expected: list[tuple[str, str]]
) -> None:
    assert addresses(seen(make.behind_a_gateway(route=route))) == expected


def listeners(*listeners: tuple[str, int, str]) -> Manifest:
    return {"listeners": [{"name": name, "port": port, "protocol": kind} for name, port, kind in listeners]}


IT = "gateway default/qwen-entry"


@pytest.mark.parametrize(
    ("route", "gateway", "expected"),
    [
        pytest.param(None, {}, [(IT, "http://192.0.2.7/default/qwen")], id="its address"),
        pytest.param({"hostnames": ["a.example"]}, {}, [(IT, "http://a.example/default/qwen")], id="a hostname"),
        pytest.param(RULES, {}, [(IT, "http://192.0.2.7")], id="own rules"),
        pytest.param(
            None, listeners(("http", 8080, "HTTP")), [(IT, "http://192.0.2.7:8080/default/qwen")], id="another port"
        ),
        pytest.param(
            None, listeners(("tls", 443, "HTTPS")), [(IT, "https://192.0.2.7/default/qwen")], id="HTTPS"
        ),
        pytest.param(
            None, listeners(("http", 80, "HTTP"), ("tls", 8443, "HTTPS"), ("raw", 9000, "TCP")),
            [
                (f"{IT}, http://192.0.2.7", "http://192.0.2.7/default/qwen"),
                (f"{IT}, https://192.0.2.7:8443", "https://192.0.2.7:8443/default/qwen"),
            ],
            id="several listeners",
        ),
    ],
)  # fmt: skip
def test_of_its_own_gateway_all_is_known(
    route: Manifest | None, gateway: Manifest, expected: list[tuple[str, str]]
) -> None:
    assert addresses(seen(make.with_own_gateway(route, gateway))) == expected


def test_an_address_of_ipv6_has_brackets() -> None:
    v6 = {"status": {"addresses": [{"type": "IPAddress", "value": "2001:db8::7"}]}}

    assert addresses(seen(OWN, Gateway=v6)) == [(IT, "http://[2001:db8::7]/default/qwen")]


def test_there_is_no_way_by_a_gateway_before_there_is_a_route_nor_without_one() -> None:
    assert addresses(seen(without="HTTPRoute")) == []
    assert addresses(seen(make.a_router())) == []
