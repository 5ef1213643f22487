"""What is written, what is left alone, and why."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.reconcile.plan import Plan, plan_changes, signed
from tests import make


def live_objects(*roles: Manifest) -> tuple[Manifest, ...]:
    """Everything of the service as it stands after it was applied."""
    return tuple(make.applied(manifest) for manifest in make.desired(*roles).manifests)


def plan(*children: Manifest, roles: tuple[Manifest, ...] = ()) -> Plan:
    return plan_changes(make.desired(*roles), make.a_snapshot(make.raw_service(*roles), children=children))


def test_nothing_exists_so_everything_is_created_and_must_be_absent() -> None:
    steps = plan().applies

    assert [(step.resource.kind, step.name) for step in steps] == [
        ("Service", "qwen"),
        ("StatefulSet", "qwen-inference"),
    ]
    assert all(step.manifest["metadata"]["resourceVersion"] == "1" and step.creates for step in steps)


def test_what_was_applied_is_not_applied_again() -> None:
    assert plan(*live_objects()) == Plan()


def test_a_change_is_sent_to_the_very_object_that_was_seen() -> None:
    entry, workload = live_objects()

    (step,) = plan(entry, workload, roles=(make.a_role(replicas=3),)).applies

    assert step.manifest["metadata"]["uid"] == workload["metadata"]["uid"]
    assert "resourceVersion" not in step.manifest["metadata"]
    assert step.manifest["spec"]["replicas"] == 3
    assert step.reason == "something else is wanted now"


def test_a_field_that_somebody_else_took_is_taken_back() -> None:
    entry, workload = live_objects()
    del workload["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:replicas"]

    (step,) = plan(entry, workload).applies

    assert step.reason == "somebody else changed spec.replicas"


def test_fields_that_others_added_are_none_of_our_business() -> None:
    entry, workload = live_objects()
    workload["metadata"]["labels"]["team"] = "blue"
    workload["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"

    assert plan(entry, workload) == Plan()


def test_values_that_the_server_normalised_are_not_sent_again() -> None:
    cpu = make.a_role(template=make.a_template(make.a_container(resources={"limits": {"cpu": "1000m"}})))
    entry, workload = live_objects(cpu)
    workload["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1"

    assert plan(entry, workload, roles=(cpu,)) == Plan()


def test_a_strangers_object_is_left_alone_and_named() -> None:
    entry, workload = live_objects()
    entry["metadata"]["ownerReferences"] = [
        {"uid": "somebody", "kind": "Deployment", "name": "web", "controller": True}
    ]

    result = plan(entry, workload)

    assert result.is_empty
    (taken,) = result.taken
    assert (taken.kind, taken.name, taken.holder) == ("Service", "qwen", "Deployment 'web'")


def test_our_own_object_that_lost_its_owner_is_taken_back() -> None:
    entry, workload = live_objects()
    workload["metadata"]["ownerReferences"] = []

    (step,) = plan(entry, workload).applies

    assert step.reason == "it has lost its owner"
    assert step.manifest["spec"]["template"] == workload["spec"]["template"]


def test_an_orphan_that_we_never_applied_is_a_strangers() -> None:
    entry, workload = live_objects()
    workload["metadata"]["ownerReferences"] = []
    workload["metadata"]["managedFields"][0]["manager"] = "helm"

    assert plan(entry, workload).taken[0].kind == "StatefulSet"


def test_what_nothing_asks_for_any_more_is_deleted_by_its_uid() -> None:
    renamed = make.a_role(name="chat")
    entry, workload = live_objects()

    result = plan(entry, workload, roles=(renamed,))

    assert [step.name for step in result.applies] == ["qwen-chat"]
    (delete,) = result.deletes
    assert (delete.name, delete.uid) == ("qwen-inference", workload["metadata"]["uid"])


def test_a_strangers_object_with_our_label_is_not_deleted() -> None:
    entry, workload = live_objects()
    other = {
        **workload,
        "metadata": {**workload["metadata"], "name": "other", "ownerReferences": [], "managedFields": []},
    }

    assert plan(entry, workload, other) == Plan()


def test_an_object_that_is_being_deleted_is_waited_for() -> None:
    entry, workload = live_objects()
    workload["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"

    assert plan(entry, workload) == Plan()


def test_the_hash_of_an_object_does_not_depend_on_its_owners_uid() -> None:
    (service, _), (again, _) = make.desired().manifests, make.desired().manifests
    again["metadata"]["ownerReferences"][0]["uid"] = "another"

    assert (
        signed(service)["metadata"]["annotations"][names.APPLIED]
        == (signed(again)["metadata"]["annotations"][names.APPLIED])
    )


SEVERAL = make.a_role_of_nodes(2)


def test_the_workload_of_the_other_kind_goes_first_and_with_its_pods() -> None:
    plan_ = plan(*live_objects(), roles=(SEVERAL,))

    (delete,) = plan_.deletes
    assert (delete.resource.kind, delete.name, delete.propagation) == ("StatefulSet", "qwen-inference", "Foreground")
    assert plan_.applies == ()
    assert plan_.recreating == {"inference"}


def test_the_new_workload_waits_for_the_last_pod_of_the_old_one() -> None:
    entry, _ = live_objects()
    raw = make.raw_service(SEVERAL)
    waiting = plan_changes(make.desired(SEVERAL), make.a_snapshot(raw, children=(entry,), pods=(make.a_pod(),)))
    free = plan_changes(make.desired(SEVERAL), make.a_snapshot(raw, children=(entry,)))

    assert not waiting.applies
    assert waiting.recreating == {"inference"}
    assert [step.resource.kind for step in free.applies] == ["LeaderWorkerSet"]


def test_pods_of_several_nodes_are_in_the_way_of_one_node_too() -> None:
    entry, _ = live_objects()
    group = make.a_group(template="any")

    plan_ = plan_changes(make.desired(), make.a_snapshot(children=(entry,), pods=group))

    assert not plan_.applies
    assert plan_.recreating == {"inference"}


def test_what_runs_is_not_taken_down_for_a_kind_that_is_not_installed() -> None:
    children = live_objects()
    snapshot = make.a_snapshot(make.raw_service(SEVERAL), children=children, unserved={"LeaderWorkerSet"})

    plan_ = plan_changes(make.desired(SEVERAL), snapshot)

    assert plan_.is_empty
    assert plan_.uninstalled == {"inference"}


def test_several_nodes_that_were_applied_are_not_applied_again() -> None:
    assert plan(*live_objects(SEVERAL), roles=(SEVERAL,)) == Plan()


# --- the gang -----------------------------------------------------------------------------------------------------

NO_GANG: Manifest = {}
TWO_COPIES = make.a_role(replicas=2)


def live_gang(*roles: Manifest, strategy: Manifest = make.GANG) -> dict[str, Manifest]:
    """Everything of a service with a gang as it stands after it was applied, by kind; of one role."""
    manifests = make.desired(*roles, schedulingStrategy=strategy).manifests
    return {manifest["kind"]: make.applied(manifest) for manifest in manifests}


def plan_gang(
    *pods: Manifest,
    children: tuple[Manifest, ...] = (),
    roles: tuple[Manifest, ...] = (TWO_COPIES,),
    strategy: Manifest = make.GANG,
    unserved: tuple[str, ...] = (),
) -> Plan:
    raw = make.raw_service(*roles, schedulingStrategy=strategy)
    snapshot = make.a_snapshot(raw, children=children, pods=pods, unserved=unserved)
    return plan_changes(make.desired(*roles, schedulingStrategy=strategy), snapshot)


def kinds(plan: Plan) -> list[list[str]]:
    return [[step.resource.kind for step in wave] for wave in plan.waves]


def inside(index: int = 0, **fields: Any) -> Manifest:
    return make.in_gang(make.a_ready_pod(index, **fields))


def test_the_group_is_made_before_the_pods_that_name_it() -> None:
    assert kinds(plan_gang()) == [["PodGroup"], ["Service", "StatefulSet"]]


def test_the_group_asks_for_less_before_there_are_fewer_pods() -> None:
    children = tuple(live_gang(make.a_role(replicas=3)).values())

    plan_ = plan_gang(inside(0), inside(1), inside(2), children=children)

    assert kinds(plan_) == [["PodGroup"], ["StatefulSet"]]


def test_the_group_asks_for_more_after_there_are_more_pods() -> None:
    children = tuple(live_gang(TWO_COPIES).values())
    three = make.a_role(replicas=3)

    begins = plan_gang(children=children, roles=(three,))
    grows = plan_gang(inside(0), inside(1), children=children, roles=(three,))
    grown = plan_gang(
        *(inside(index) for index in range(3)),
        children=(*children[:-1], live_gang(three)["StatefulSet"]),
        roles=(three,),
    )

    assert kinds(begins) == [["StatefulSet"], ["PodGroup"]]
    assert kinds(grows) == [["StatefulSet"]]
    assert kinds(grown) == [["PodGroup"]]


def test_a_removed_role_leaves_the_group_before_its_workload_is_deleted() -> None:
    prefill, decode = make.prefill_and_decode()
    more = {**decode, "name": "more"}
    desired = make.desired(prefill, decode, more, schedulingStrategy=make.GANG)
    pods = tuple(inside(workload=f"qwen-{name}") for name in ("prefill", "decode", "more"))

    plan_ = plan_gang(*pods, children=tuple(map(make.applied, desired.manifests)), roles=(prefill, decode))

    assert kinds(plan_) == [["PodGroup"]]
    assert [delete.name for delete in plan_.deletes] == ["qwen-more"]


@pytest.mark.parametrize(
    ("roles", "strategy"),
    [
        pytest.param((TWO_COPIES,), make.GANG, id="one node"),
        pytest.param((make.a_role(replicas=0),), make.GANG, id="no copies"),
        pytest.param(make.prefill_and_decode((2, 1), (4, 2)), make.GANG, id="prefill and decode, several nodes"),
        pytest.param(
            (TWO_COPIES,),
            {
                **make.GANG,
                "queue": "research",
                "networkTopology": {},
                "gang": {"mode": "MinReplicas"},
            },
            id="all wishes",
        ),
    ],
)
def test_a_gang_that_was_applied_is_not_applied_again(roles: tuple[Manifest, ...], strategy: Manifest) -> None:
    desired = make.desired(*roles, schedulingStrategy=strategy)
    children = [make.applied(manifest) for manifest in desired.manifests]

    assert plan_gang(children=tuple(children), roles=roles, strategy=strategy) == Plan()


def test_a_gang_at_rest_is_not_written_to_for_what_volcano_fills_in() -> None:
    live = live_gang(TWO_COPIES)
    live["PodGroup"]["spec"] |= {"queue": "default", "minTaskMember": {}}
    live["PodGroup"]["status"] = {"phase": "Running", "running": 2}

    assert plan_gang(inside(0), inside(1), children=tuple(live.values())) == Plan()


def test_what_somebody_else_asks_of_the_gang_is_taken_back() -> None:
    live = live_gang(TWO_COPIES)
    del live["PodGroup"]["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:minMember"]

    (step,) = plan_gang(inside(0), inside(1), children=tuple(live.values())).applies

    assert step.reason == "somebody else changed spec.minMember"
    assert step.manifest["metadata"]["uid"] == live["PodGroup"]["metadata"]["uid"]


def test_a_gang_that_nobody_names_any_more_is_deleted() -> None:
    without = live_gang(TWO_COPIES, strategy=NO_GANG)
    children = (*without.values(), live_gang(TWO_COPIES)["PodGroup"])

    plan_ = plan_gang(make.a_ready_pod(0), make.a_ready_pod(1), children=children, strategy=NO_GANG)

    assert not plan_.applies
    (delete,) = plan_.deletes
    assert (delete.resource.kind, delete.name, delete.propagation) == ("PodGroup", "qwen", "Background")


def test_a_gang_that_is_not_asked_for_stays_while_pods_name_it_and_the_pods_are_rolled() -> None:
    children = tuple(live_gang(TWO_COPIES).values())

    plan_ = plan_gang(inside(0), inside(1), children=children, strategy=NO_GANG)

    assert kinds(plan_) == [["PodGroup"], ["StatefulSet"]]
    assert not plan_.deletes
    template = plan_.waves[1][0].manifest["spec"]["template"]
    assert "annotations" not in template["metadata"]


def test_a_strangers_group_is_left_alone_and_named() -> None:
    live = live_gang(TWO_COPIES)
    live["PodGroup"]["metadata"]["ownerReferences"] = [
        {"uid": "somebody", "kind": "Job", "name": "train", "controller": True}
    ]

    for strategy in (make.GANG, NO_GANG):
        plan_ = plan_gang(inside(0), inside(1), children=tuple(live.values()), strategy=strategy)
        written = {step.resource.kind for step in plan_.applies} | {step.resource.kind for step in plan_.deletes}
        assert "PodGroup" not in written
        (taken,) = plan_.taken
        assert (taken.kind, taken.name, taken.holder) == ("PodGroup", "qwen", "Job 'train'")


def test_no_pods_are_made_for_a_gang_whose_name_is_a_strangers() -> None:
    """They would fill places in the stranger's."""
    group = live_gang(TWO_COPIES)["PodGroup"]
    group["metadata"]["ownerReferences"] = [{"uid": "somebody", "kind": "Job", "name": "train", "controller": True}]

    assert not any(step.resource.kind == "StatefulSet" for step in plan_gang(children=(group,)).applies)


# --- where gangs are not installed ---

UNSERVED = ("PodGroup",)


def test_where_gangs_are_not_installed_only_the_entry_is_made() -> None:
    plan_ = plan_gang(unserved=UNSERVED)

    assert kinds(plan_) == [["Service"]]
    assert plan_.gang_is_uninstalled


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(make.a_role(replicas=5), id="a change"),
        pytest.param(make.a_role_of_nodes(2), id="another kind of workload"),
    ],
)
def test_where_gangs_are_not_installed_what_runs_is_neither_changed_nor_deleted(role: Manifest) -> None:
    plan_ = plan_gang(make.a_ready_pod(), children=live_objects(), roles=(role,), unserved=UNSERVED)

    assert plan_.is_empty
    assert plan_.gang_is_uninstalled


def test_where_gangs_are_not_installed_a_renamed_role_runs_on_since_nothing_takes_its_place() -> None:
    renamed = make.a_role(name="chat")

    plan_ = plan_gang(make.a_ready_pod(), children=live_objects(), roles=(renamed,), unserved=UNSERVED)

    assert not plan_.deletes


@pytest.mark.parametrize("strategy", [NO_GANG, {**make.GANG, "gang": {"mode": "None"}}], ids=["nothing said", "None"])
def test_who_asks_for_no_gang_does_not_need_its_kind(strategy: Manifest) -> None:
    plan_ = plan_gang(unserved=UNSERVED, strategy=strategy)

    assert kinds(plan_) == [["Service", "StatefulSet"]]
    assert not plan_.gang_is_uninstalled


def test_a_gang_that_is_not_asked_for_any_more_holds_up_nothing_where_its_kind_is_gone() -> None:
    """Else the way out of a gang whose scheduler was removed would be barred by its own pods."""
    live = live_gang(TWO_COPIES)
    children = (live["Service"], live["StatefulSet"])

    plan_ = plan_gang(inside(0), inside(1), children=children, strategy=NO_GANG, unserved=UNSERVED)

    assert kinds(plan_) == [["StatefulSet"]]
    assert not plan_.gang_is_uninstalled


# --- the router ---------------------------------------------------------------------------------------------------

ENGINE = make.a_role()
ROUTER = make.a_router()
ROUTED = (ENGINE, ROUTER)
NEW = "llm-d-router-0.10"
PAST_IT = make.desired().entry["spec"]["selector"]
TO_IT = names.router_labels("qwen", "entry")


def mark(*roles: Manifest) -> str:
    """That of the template of the router's pods."""
    router = make.desired(*(roles or ROUTED)).router
    assert router is not None
    return make.mark_of(router.workload)


def plan_router(
    *pods: Manifest,
    children: tuple[Manifest, ...] = (),
    roles: tuple[Manifest, ...] = ROUTED,
    unserved: tuple[str, ...] = (),
    **spec: Any,
) -> Plan:
    raw = make.raw_service(*roles, **spec)
    snapshot = make.a_snapshot(raw, children=children, pods=pods, unserved=unserved)
    return plan_changes(make.desired(*roles, **spec), snapshot)


def leads(plan: Plan) -> Manifest | None:
    """Whom the entry is led to; None: it is left as it is."""
    found = [step.manifest["spec"]["selector"] for step in plan.applies if step.name == "qwen"]
    return found[0] if found else None


def applied_kinds(plan: Plan) -> list[str]:
    return [step.resource.kind for step in plan.applies]


ALL_OF_IT = ["ServiceAccount", "RoleBinding", "Service", "InferencePool", "Deployment"]


def test_a_service_is_made_with_its_router_at_once() -> None:
    plan_ = plan_router()

    assert kinds(plan_) == [["Service", *ALL_OF_IT, "StatefulSet"]]
    assert all(step.creates for step in plan_.applies)
    assert leads(plan_) == TO_IT
    assert not plan_.router_is_bypassed


@pytest.mark.parametrize(
    "router",
    [
        pytest.param(make.a_router(), id="0.7"),
        pytest.param(make.a_router(replicas=2), id="a budget"),
        pytest.param({"name": "entry", "componentType": "router"}, id="replicas are others'"),
        pytest.param(make.a_router(pickerRelease=NEW), id="0.10"),
        pytest.param(make.a_router(template=make.a_router_template(nodeSelector={"a": "b"})), id="own template"),
    ],
)
def test_a_router_that_was_applied_is_not_applied_again(router: Manifest) -> None:
    roles = (ENGINE, router)
    pods = (make.a_ready_pod(), make.a_router_pod(template=mark(*roles)))

    assert plan_router(*pods, children=live_objects(*roles), roles=roles) == Plan()


def test_the_copies_of_the_engines_write_nothing_on_the_router() -> None:
    more = (make.a_role(replicas=3), ROUTER)

    plan_ = plan_router(make.a_router_pod(template=mark()), children=live_objects(*ROUTED), roles=more)

    assert applied_kinds(plan_) == ["StatefulSet"]


@pytest.mark.parametrize(
    "router",
    [make.a_router(strategy="queue-size"), make.a_router(template=make.a_router_template(nodeSelector={"a": "b"}))],
    ids=["strategy", "template"],
)
def test_a_change_of_the_router_is_written_to_its_deployment_alone(router: Manifest) -> None:
    plan_ = plan_router(
        make.a_router_pod(template=mark()), children=live_objects(*ROUTED), roles=(ENGINE, router)
    )  # fmt: skip

    assert applied_kinds(plan_) == ["Deployment"]
    assert not plan_.router_is_bypassed


@pytest.mark.parametrize(
    ("before", "after", "applied", "deleted"),
    [
        pytest.param(1, 2, ["PodDisruptionBudget", "Deployment"], [], id="a second pod"),
        pytest.param(2, 3, ["Deployment"], [], id="a third"),
        pytest.param(2, 1, ["Deployment"], ["PodDisruptionBudget"], id="one again"),
        pytest.param(2, 0, ["Deployment"], ["PodDisruptionBudget"], id="none"),
    ],
)
def test_the_budget_comes_and_goes_with_the_second_pod(
    before: int, after: int, applied: list[str], deleted: list[str]
) -> None:
    children = live_objects(ENGINE, make.a_router(replicas=before))

    plan_ = plan_router(children=children, roles=(ENGINE, make.a_router(replicas=after)))

    assert applied_kinds(plan_) == applied
    assert [step.resource.kind for step in plan_.deletes] == deleted


def test_a_release_without_a_pool_leaves_none_behind() -> None:
    roles = (ENGINE, make.a_router(pickerRelease=NEW))

    plan_ = plan_router(make.a_router_pod(template=mark()), children=live_objects(*ROUTED), roles=roles)

    assert applied_kinds(plan_) == ["Deployment"]
    assert [(step.resource.kind, step.name) for step in plan_.deletes] == [
        ("Service", "qwen-entry"),
        ("InferencePool", "qwen-entry"),
    ]


@pytest.mark.parametrize("part", ALL_OF_IT)
def test_a_part_that_is_gone_is_made_again(part: str) -> None:
    children = tuple(
        live for live in live_objects(*ROUTED)
        if (live["kind"], live["metadata"]["name"]) != (part, "qwen-entry")
    )  # fmt: skip

    plan_ = plan_router(make.a_router_pod(template=mark()), children=children)

    assert applied_kinds(plan_) == [part]
    assert not plan_.deletes


@pytest.mark.parametrize("part", ["RoleBinding", "InferencePool", "Deployment"])
def test_what_somebody_else_changed_of_a_part_is_taken_back(part: str) -> None:
    children = live_objects(*ROUTED)
    (live,) = (child for child in children if child["kind"] == part)
    fields = live["metadata"]["managedFields"][0]["fieldsV1"]
    fields.pop("f:roleRef" if part == "RoleBinding" else "f:spec")

    plan_ = plan_router(make.a_router_pod(template=mark()), children=children)

    assert applied_kinds(plan_) == [part]
    assert plan_.applies[0].reason == f"somebody else changed {'roleRef' if part == 'RoleBinding' else 'spec'}"


@pytest.mark.parametrize("part", ALL_OF_IT)
def test_a_strangers_part_is_left_alone_and_named(part: str) -> None:
    children = live_objects(*ROUTED)
    (live,) = (c for c in children if (c["kind"], c["metadata"]["name"]) == (part, "qwen-entry"))
    live["metadata"]["ownerReferences"] = [{"uid": "x", "kind": "Job", "name": "x", "controller": True}]

    plan_ = plan_router(make.a_router_pod(template=mark()), children=children)

    assert plan_.is_empty
    (taken,) = plan_.taken
    assert (taken.kind, taken.name, taken.holder) == (part, "qwen-entry", "Job 'x'")


# --- who is led where ---


def test_a_router_that_is_added_takes_nobody_on_before_it_answers() -> None:
    children = live_objects(ENGINE)

    plan_ = plan_router(make.a_ready_pod(), children=children)

    assert [kind for kind in applied_kinds(plan_) if kind != "StatefulSet"] == ALL_OF_IT
    assert leads(plan_) is None
    assert plan_.router_is_bypassed


ADDED = (live_objects(ENGINE)[0], *live_objects(*ROUTED)[1:])
"""A router that was added: all of it is there, and the entry leads past it."""


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param((), id="no pod"),
        pytest.param((make.a_router_pod(template=mark(), ready=False),), id="a pod that is not ready"),
        pytest.param((make.that_ends(make.a_router_pod(template=mark())),), id="a pod that ends"),
    ],
)
def test_clients_are_led_past_a_new_router_that_does_not_answer(pods: tuple[Manifest, ...]) -> None:
    plan_ = plan_router(make.a_ready_pod(), *pods, children=ADDED)

    assert plan_.is_empty
    assert plan_.router_is_bypassed


def test_clients_are_led_to_a_new_router_once_it_answers() -> None:
    plan_ = plan_router(make.a_ready_pod(), make.a_router_pod(template=mark()), children=ADDED)

    assert applied_kinds(plan_) == ["Service"]
    assert leads(plan_) == TO_IT
    assert not plan_.router_is_bypassed


@pytest.mark.parametrize("pods", [(), (make.a_router_pod(template=mark(), ready=False),)], ids=["no pod", "not ready"])
def test_clients_stay_with_a_router_that_answered_once(pods: tuple[Manifest, ...]) -> None:
    """Else they would be sent to and fro between two ways of being served."""
    plan_ = plan_router(make.a_ready_pod(), *pods, children=live_objects(*ROUTED))

    assert plan_.is_empty
    assert not plan_.router_is_bypassed


def test_what_somebody_did_to_the_entry_is_put_right_whether_or_not_the_router_answers() -> None:
    entry, *others = live_objects(*ROUTED)
    entry["spec"]["selector"] = {"app": "mine"}
    del entry["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:selector"]
    children = (entry, *others)

    assert leads(plan_router(make.a_router_pod(template=mark()), children=children)) == TO_IT
    assert leads(plan_router(children=children)) == PAST_IT


def test_a_strangers_entry_is_not_led_past_the_router_either() -> None:
    entry, *others = live_objects(*ROUTED)
    entry["spec"]["selector"] = {"app": "theirs"}
    entry["metadata"]["ownerReferences"] = [{"uid": "x", "kind": "Job", "name": "x", "controller": True}]

    plan_ = plan_router(make.a_ready_pod(), children=(entry, *others))

    assert plan_.is_empty
    assert [taken.name for taken in plan_.taken] == ["qwen"]
    assert not plan_.router_is_bypassed


def test_clients_of_a_renamed_router_are_led_past_both_until_the_new_one_answers() -> None:
    roles = (ENGINE, make.a_router(name="gate"))

    plan_ = plan_router(
        make.a_ready_pod(), make.a_router_pod(template=mark()), children=live_objects(*ROUTED), roles=roles
    )

    assert leads(plan_) == PAST_IT
    assert plan_.router_is_bypassed
    assert {step.name for step in plan_.deletes} == {"qwen-entry"}


def test_a_pod_of_an_engine_that_had_the_routers_name_is_none_of_its_own() -> None:
    """A worker called like the router was renamed: its pods go on for a while, and route nothing."""
    roles = (make.a_role(name="chat"), ROUTER)
    before = live_objects(make.a_role(name="entry"))
    children = (*before, *live_objects(*roles)[1:])

    plan_ = plan_router(make.a_ready_pod(workload="qwen-entry"), children=children, roles=roles)

    assert leads(plan_) is None
    assert plan_.router_is_bypassed


def test_a_router_that_is_removed_finishes_its_requests_and_then_goes_with_all_its_parts() -> None:
    children = live_objects(ENGINE, make.a_router(replicas=2))
    pods = make.a_ready_pod(), make.a_router_pod(template=mark())

    ending = plan_router(*pods, children=children, roles=(ENGINE,))
    ended = plan_router(pods[0], children=children, roles=(ENGINE,))

    assert leads(ending) == leads(ended) == PAST_IT
    assert set(applied_kinds(ending)) <= {"Service", "StatefulSet"}
    picker = {"ServiceAccount", "RoleBinding", "InferencePool"}
    assert {step.resource.kind for step in ended.deletes} == {*ALL_OF_IT, "PodDisruptionBudget"}
    assert {step.resource.kind for step in ending.deletes} == {*ALL_OF_IT, "PodDisruptionBudget"} - picker
    assert {step.name for step in ended.deletes} == {"qwen-entry"}
    assert {step.propagation for step in ended.deletes} == {"Background"}


# --- where pools are not installed ---

NO_POOLS = ("InferencePool",)


def test_where_pools_are_not_installed_all_but_the_router_is_made() -> None:
    plan_ = plan_router(unserved=NO_POOLS)

    assert applied_kinds(plan_) == ["Service", "StatefulSet"]
    assert plan_.router_lacks
    assert leads(plan_) == TO_IT


def test_where_pools_are_not_installed_a_router_that_is_added_takes_nobody_on() -> None:
    plan_ = plan_router(make.a_ready_pod(), children=live_objects(ENGINE), unserved=NO_POOLS)

    assert leads(plan_) is None
    assert plan_.router_lacks
    assert plan_.router_is_bypassed


def test_once_pools_are_installed_the_router_is_made() -> None:
    children = tuple(live for live in live_objects(*ROUTED) if live["metadata"]["name"] != "qwen-entry")

    assert applied_kinds(plan_router(children=children)) == ALL_OF_IT


@pytest.mark.parametrize(
    "roles",
    [
        pytest.param(ROUTED, id="no change"),
        pytest.param((ENGINE, make.a_router(strategy="queue-size")), id="another strategy"),
        pytest.param((ENGINE, make.a_router(name="gate")), id="another name"),
        pytest.param((make.a_role(name="chat"), ROUTER), id="another name of the engine's role"),
    ],
)
def test_while_pools_are_gone_nothing_is_deleted_nor_changed_of_the_router(roles: tuple[Manifest, ...]) -> None:
    children = tuple(live for live in live_objects(*ROUTED) if live["kind"] != "InferencePool")
    pods = (make.a_ready_pod(), make.a_router_pod(template=mark()))

    plan_ = plan_router(*pods, children=children, roles=roles, unserved=NO_POOLS)

    assert not plan_.deletes
    assert not {step.name for step in plan_.applies} & {"qwen-entry", "qwen-gate"}
    assert plan_.router_lacks


def test_engines_go_on_changing_while_pools_are_gone() -> None:
    more = (make.a_role(replicas=3), ROUTER)

    plan_ = plan_router(children=live_objects(*ROUTED), roles=more, unserved=NO_POOLS)

    assert applied_kinds(plan_) == ["StatefulSet"]


def test_a_release_that_needs_no_pool_does_not_wait_for_the_kind() -> None:
    plan_ = plan_router(roles=(ENGINE, make.a_router(pickerRelease=NEW)), unserved=NO_POOLS)

    assert applied_kinds(plan_) == ["Service", "ServiceAccount", "RoleBinding", "Deployment", "StatefulSet"]
    assert not plan_.router_lacks


def test_a_router_that_is_removed_where_pools_are_not_installed_goes() -> None:
    children = tuple(live for live in live_objects(*ROUTED) if live["kind"] != "InferencePool")

    plan_ = plan_router(make.a_ready_pod(), children=children, roles=(ENGINE,), unserved=NO_POOLS)

    assert {step.resource.kind for step in plan_.deletes} == {*ALL_OF_IT} - {"InferencePool"}
    assert leads(plan_) == PAST_IT


def test_where_gangs_are_not_installed_the_router_is_made_and_no_engine() -> None:
    plan_ = plan_router(unserved=UNSERVED, schedulingStrategy=make.GANG)

    assert kinds(plan_) == [["Service", *ALL_OF_IT]]
