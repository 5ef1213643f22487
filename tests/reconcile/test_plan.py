"""What is written, what is left alone, and why."""

from __future__ import annotations

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
