"""The status subresource."""

from __future__ import annotations

import pytest

from fusioninfer.kube import errors
from fusioninfer.kube.requests import Manifest
from tests.contract.widgets import STATEFUL_SETS, WIDGETS, Namespace, a_stateful_set, a_widget, held_by, post


def a_status(name: str = "w", *, status: Manifest, **metadata: str) -> Manifest:
    return {
        "apiVersion": WIDGETS.api_version,
        "kind": WIDGETS.kind,
        "metadata": {"name": name, **metadata},
        "status": status,
    }


async def test_status_has_a_manager_of_its_own_and_counts_no_generation(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    status = {"phase": "Up", "conditions": [{"type": "Ready", "status": "True"}]}

    told = await world.apply(WIDGETS, a_status(status=status), manager="status", sub="status")

    assert told["status"] == status
    assert told["spec"] == live["spec"]
    assert told["metadata"]["generation"] == 1
    assert told["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]
    assert held_by(told, "us") == held_by(live, "us")
    assert held_by(told, "status", subresource="status") == {
        "f:status": {
            "f:phase": {},
            "f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}}},
        }
    }


async def test_who_applies_both_object_and_status_holds_them_apart(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())
    await world.apply(WIDGETS, a_status(status={"phase": "Up"}), sub="status")

    live = await world.apply(WIDGETS, a_widget())

    assert live["status"] == {"phase": "Up"}
    assert held_by(live, "us") == {"f:spec": {"f:size": {}}}
    assert held_by(live, "us", subresource="status") == {"f:status": {"f:phase": {}}}


async def test_the_same_status_again_is_no_change(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())
    status = a_status(status={"phase": "Up", "conditions": [{"type": "Ready", "status": "True"}]})
    told = await world.apply(WIDGETS, status, manager="status", sub="status")

    assert await world.apply(WIDGETS, status, manager="status", sub="status") == told


async def test_a_status_write_changes_neither_spec_nor_labels(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(labels={"l": "1"}))
    patch = {**a_widget(spec={"replicas": 9}, labels={"l": "2"}), "status": {"phase": "Up"}}

    told = await world.apply(WIDGETS, patch, manager="status", sub="status")

    assert told["spec"] == live["spec"]
    assert told["metadata"]["labels"] == {"l": "1"}
    assert told["status"] == {"phase": "Up"}


async def test_a_write_of_the_object_changes_no_status(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())
    await world.apply(WIDGETS, a_status(status={"phase": "Up"}), manager="status", sub="status")

    live = await world.apply(WIDGETS, {**a_widget(spec={"replicas": 1}), "status": {"phase": "Down"}})

    assert live["status"] == {"phase": "Up"}
    assert "f:status" not in held_by(live, "us")


async def test_an_object_is_created_without_its_status(world: Namespace) -> None:
    live = await world.apply(WIDGETS, {**a_widget(), "status": {"phase": "Up"}})

    assert "status" not in live


async def test_an_object_is_posted_without_its_status(world: Namespace) -> None:
    live = await world.send(post(WIDGETS, world.name, {**a_widget(), "status": {"phase": "Up"}}))

    assert "status" not in live


async def test_the_status_of_what_is_not_there_makes_nothing(world: Namespace) -> None:
    with pytest.raises(errors.NotFound):
        await world.apply(WIDGETS, a_status(status={"phase": "Up"}), manager="status", sub="status")


async def test_a_status_is_guarded_by_the_version(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())

    guarded = a_status(status={"phase": "Up"}, resourceVersion="1")
    with pytest.raises(errors.Conflict):
        await world.apply(WIDGETS, guarded, manager="status", sub="status")


async def test_the_uid_is_no_guard_of_a_custom_resources_status(world: Namespace) -> None:
    """A status that was meant for an object that is gone lands on the next one of its name."""
    live = await world.apply(WIDGETS, a_widget())

    guarded = a_status(status={"phase": "Up"}, uid="another")
    told = await world.apply(WIDGETS, guarded, manager="status", sub="status")

    assert told["status"] == {"phase": "Up"}
    assert told["metadata"]["uid"] == live["metadata"]["uid"]


async def test_the_uid_is_a_guard_of_a_built_in_kinds_status(world: Namespace) -> None:
    workload = await world.apply(STATEFUL_SETS, a_stateful_set({"name": "c", "image": "i"}))

    status = {**workload, "metadata": {"name": "s", "uid": "another"}, "status": {"replicas": 1}}
    with pytest.raises(errors.Refused) as refusal:
        await world.apply(STATEFUL_SETS, status, manager="status", sub="status")

    assert refusal.value.status.code == 422


async def test_conditions_that_are_told_no_more_are_gone_and_those_of_others_stay(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    conditions = [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]
    await world.apply(WIDGETS, a_status(status={"conditions": conditions}), manager="status", sub="status")
    theirs = {"status": {"conditions": [*conditions, {"type": "C", "status": "True"}]}}
    await world.change(WIDGETS, live, theirs, sub="status")

    told = await world.apply(
        WIDGETS, a_status(status={"conditions": [{"type": "B", "status": "False"}]}), manager="status", sub="status"
    )

    assert [(one["type"], one["status"]) for one in told["status"]["conditions"]] == [("B", "False"), ("C", "True")]


async def test_a_map_in_the_status_that_empties_is_to_be_left_out(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())
    await world.apply(WIDGETS, a_status(status={"phase": "Up", "counts": {"a": 1}}), manager="status", sub="status")

    with pytest.raises(errors.Refused):
        await world.apply(WIDGETS, a_status(status={"phase": "Up", "counts": {}}), manager="status", sub="status")

    told = await world.apply(WIDGETS, a_status(status={"phase": "Up"}), manager="status", sub="status")
    assert told["status"] == {"phase": "Up"}


async def test_a_controller_of_a_built_in_kind_writes_status_by_patch(world: Namespace) -> None:
    live = await world.apply(STATEFUL_SETS, a_stateful_set({"name": "c", "image": "i"}))

    told = await world.change(STATEFUL_SETS, live, {"status": {"replicas": 3, "readyReplicas": 2}}, sub="status")

    assert told["status"]["readyReplicas"] == 2
    assert told["metadata"]["generation"] == 1
    assert "f:readyReplicas" in held_by(told, "them", "Update", "status")["f:status"]
