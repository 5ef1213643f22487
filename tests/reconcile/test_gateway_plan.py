"""Behind a gateway: what is written in which order, where kinds are missing, and who is led where on the way."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.router.deployment import ENVOY
from fusioninfer.reconcile.plan import Plan, plan_changes
from tests import make

ENGINE = make.a_role()
ALONE, FOREIGN, OWN = make.a_router(), make.behind_a_gateway(), make.with_own_gateway()
PROVIDERS = ["HealthCheckPolicy", "GCPBackendPolicy", "DestinationRule"]
PARTS = ["ServiceAccount", "RoleBinding", "Service", "InferencePool"]
PAST_IT = make.desired().entry["spec"]["selector"]
TO_IT = names.router_labels("qwen", "entry")


def plan(
    *pods: Manifest, router: Manifest = FOREIGN, children: tuple[Manifest, ...] = (), unserved: Iterable[str] = ()
) -> Plan:
    raw = make.raw_service(ENGINE, router)
    snapshot = make.a_snapshot(raw, children=children, pods=pods, unserved=unserved)
    return plan_changes(make.desired(ENGINE, router), snapshot)


def live(*roles: Manifest, without: Iterable[str] = ()) -> tuple[Manifest, ...]:
    """All that is made of `roles`, as it stands."""
    desired = make.desired(*roles)
    extra = () if desired.router is None else desired.router.for_providers
    return tuple(make.applied(one) for one in (*desired.manifests, *extra) if one["kind"] not in without)


def waves(plan: Plan) -> list[list[str]]:
    return [[step.resource.kind for step in wave] for wave in plan.waves]


def applied(plan: Plan) -> list[str]:
    return [f"{step.resource.kind} {step.name}" for step in plan.applies]


def deleted(plan: Plan) -> list[str]:
    return [step.resource.kind for step in plan.deletes]


def leads(plan: Plan) -> Manifest | None:
    found = [step.manifest["spec"]["selector"] for step in plan.applies if step.name == "qwen"]
    return found[0] if found else None


def a_pod(router: Manifest, *, ready: bool = True) -> Manifest:
    """A pod of `router`, of the template that it has now."""
    made = make.desired(ENGINE, router).router
    assert made is not None
    containers = [one["name"] for one in made.workload["spec"]["template"]["spec"]["containers"]]
    statuses = [{"name": name, "ready": ready} for name in containers]
    return make.a_router_pod(template=make.mark_of(made.workload), ready=ready, containerStatuses=statuses)


# --- the order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("router", "more"), [(FOREIGN, []), (OWN, ["Gateway"])], ids=["foreign", "own"])
def test_the_route_comes_after_all_that_it_leads_to(router: Manifest, more: list[str]) -> None:
    made = plan(router=router)

    assert waves(made) == [["Service", *PARTS, *more, *PROVIDERS, "Deployment", "StatefulSet"], ["HTTPRoute"]]
    assert all(step.creates for step in made.applies)
    assert leads(made) == PAST_IT
    assert made.router_lacks == ()


@pytest.mark.parametrize("router", [FOREIGN, OWN, make.behind_a_gateway(pickerRelease="llm-d-router-0.10")])
def test_what_was_applied_is_not_applied_again(router: Manifest) -> None:
    assert plan(make.a_ready_pod(), a_pod(router), router=router, children=live(ENGINE, router)) == Plan()


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway", "InferencePool", *PROVIDERS])
def test_what_is_gone_is_made_again(kind: str) -> None:
    children = live(ENGINE, OWN, without=[kind])

    assert applied(plan(make.a_ready_pod(), a_pod(OWN), router=OWN, children=children)) == [f"{kind} qwen-entry"]


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway", "DestinationRule"])
def test_what_somebody_else_changed_is_taken_back(kind: str) -> None:
    children = live(ENGINE, OWN)
    (changed,) = (child for child in children if child["kind"] == kind)
    del changed["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]

    assert applied(plan(make.a_ready_pod(), a_pod(OWN), router=OWN, children=children)) == [f"{kind} qwen-entry"]


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway", "DestinationRule"])
def test_a_strangers_object_of_that_name_is_left_alone_and_named(kind: str) -> None:
    children = live(ENGINE, OWN)
    (theirs,) = (child for child in children if child["kind"] == kind)
    theirs["metadata"]["ownerReferences"] = [{"uid": "x", "kind": "Job", "name": "x", "controller": True}]

    made = plan(make.a_ready_pod(), a_pod(OWN), router=OWN, children=children)

    assert made.is_empty
    assert [(taken.kind, taken.name) for taken in made.taken] == [(kind, "qwen-entry")]


def test_another_hostname_is_written_to_the_route_alone_if_pods_do_not_change() -> None:
    changed = make.behind_a_gateway(route={"hostnames": ["a.example"]})

    made = plan(make.a_ready_pod(), a_pod(FOREIGN), router=changed, children=live(ENGINE, FOREIGN))

    # the Deployment's mark of what the user wrote moves along; its pods' template does not
    assert applied(made) == ["Deployment qwen-entry", "HTTPRoute qwen-entry"]
    (deployment,) = (one for one in live(ENGINE, FOREIGN) if one["kind"] == "Deployment")
    assert make.mark_of(made.applies[0].manifest) == make.mark_of(deployment)


# --- kinds that are not installed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("router", "missing"),
    [
        (FOREIGN, ["HTTPRoute"]), (FOREIGN, ["InferencePool"]), (OWN, ["HTTPRoute"]), (OWN, ["Gateway"]),
        (OWN, ["InferencePool"]), (OWN, ["InferencePool", "Gateway", "HTTPRoute"]),
        (make.behind_a_gateway(pickerRelease="llm-d-router-0.10"), ["InferencePool"]),
    ],
)  # fmt: skip
def test_where_a_kind_is_not_installed_all_but_the_router_is_made(router: Manifest, missing: list[str]) -> None:
    made = plan(router=router, unserved=missing)

    assert waves(made) == [["Service", "StatefulSet"]]
    assert leads(made) == PAST_IT
    assert [resource.kind for resource in made.router_lacks] == missing
    assert not made.deletes


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway", "InferencePool"])
def test_while_a_kind_is_gone_nothing_of_the_router_is_changed_and_engines_go_on(kind: str) -> None:
    children = live(ENGINE, OWN, without=[kind])
    changed = {**OWN, "strategy": "queue-size"}
    raw = make.raw_service(make.a_role(replicas=3), changed)
    snapshot = make.a_snapshot(raw, children=children, pods=(make.a_ready_pod(), a_pod(OWN)), unserved=[kind])

    made = plan_changes(make.desired(make.a_role(replicas=3), changed), snapshot)

    assert applied(made) == ["StatefulSet qwen-inference"]
    assert not made.deletes


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway"])
def test_a_gateway_that_is_not_asked_for_is_not_missed(kind: str) -> None:
    assert plan(router=ALONE, unserved=[kind]).router_lacks == ()
    assert "Deployment" in waves(plan(router=ALONE, unserved=[kind]))[0]


def test_to_somebody_elses_gateway_a_route_is_led_without_the_kind_of_ones_own() -> None:
    assert plan(router=FOREIGN, unserved=["Gateway"]).router_lacks == ()


@pytest.mark.parametrize("kind", PROVIDERS)
def test_what_only_some_gateways_read_is_made_where_its_kind_is_served_and_missed_nowhere(kind: str) -> None:
    made = plan(unserved=[kind])

    assert made.router_lacks == ()
    assert [one for one in waves(made)[0] if one in PROVIDERS] == [one for one in PROVIDERS if one != kind]
    assert waves(made)[1] == ["HTTPRoute"]


# --- from an Envoy of its own to a gateway, and back --------------------------------------------------------------


def test_on_the_way_to_a_gateway_clients_are_led_to_the_engines() -> None:
    made = plan(make.a_ready_pod(), a_pod(ALONE), children=live(ENGINE, ALONE, without=PROVIDERS))

    assert leads(made) == PAST_IT
    assert waves(made)[-1] == ["HTTPRoute"]
    assert {"Service qwen", "Deployment qwen-entry", "HTTPRoute qwen-entry"} <= set(applied(made))
    assert not made.deletes


def test_on_the_way_back_nobody_is_led_to_pods_without_an_envoy() -> None:
    made = plan(make.a_ready_pod(), a_pod(FOREIGN), router=ALONE, children=live(ENGINE, FOREIGN))

    assert leads(made) is None
    assert made.router_is_bypassed
    assert "Deployment qwen-entry" in applied(made)
    assert sorted(deleted(made)) == sorted([*PROVIDERS, "HTTPRoute"])


def test_on_the_way_back_clients_are_led_to_the_router_once_an_envoy_answers() -> None:
    children = (live(ENGINE, FOREIGN)[0], *live(ENGINE, ALONE)[1:])
    waiting = plan(make.a_ready_pod(), a_pod(FOREIGN), a_pod(ALONE, ready=False), router=ALONE, children=children)
    answering = plan(make.a_ready_pod(), a_pod(FOREIGN), a_pod(ALONE), router=ALONE, children=children)

    assert ENVOY in [one["name"] for one in a_pod(ALONE)["status"]["containerStatuses"]]
    assert leads(waiting) is None
    assert waiting.router_is_bypassed
    assert leads(answering) == TO_IT
    assert not answering.router_is_bypassed


def test_a_gateway_of_its_own_that_is_not_wanted_any_more_goes() -> None:
    made = plan(make.a_ready_pod(), a_pod(OWN), router=FOREIGN, children=live(ENGINE, OWN))

    assert deleted(made) == ["Gateway"]
    assert "HTTPRoute qwen-entry" in applied(made)


def test_a_router_that_is_removed_takes_all_of_it_along() -> None:
    raw, children = make.raw_service(ENGINE), live(ENGINE, OWN)

    gone = plan_changes(make.desired(ENGINE), make.a_snapshot(raw, children=children, pods=(make.a_ready_pod(),)))

    assert set(deleted(gone)) == {*PARTS, *PROVIDERS, "Gateway", "HTTPRoute", "Deployment"}
    assert applied(gone) == []
