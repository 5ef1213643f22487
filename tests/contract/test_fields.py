"""Server-side apply: what becomes of fields, and who holds them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fusioninfer.kube import errors
from fusioninfer.kube.requests import APPLY, Manifest, Request
from tests.contract.widgets import (
    CONFIG_MAPS,
    STATEFUL_SETS,
    WIDGETS,
    Namespace,
    a_config_map,
    a_stateful_set,
    a_widget,
    held_by,
    post,
    put,
)

_A: Manifest = {"name": "a"}
_B: Manifest = {"name": "b"}


async def test_what_was_applied_is_held(world: Namespace) -> None:
    live = await world.apply(
        WIDGETS,
        a_widget(
            labels={"l": "1"},
            spec={
                "words": ["a", "b"],
                "tags": ["t"],
                "parts": [{"name": "p", "weight": 1}],
                "selector": {"s": "1"},
                "box": {"height": 1},
                "free": {"map": {"deep": 1}, "list": [1]},
            },
        ),
    )

    assert held_by(live, "us") == {
        "f:metadata": {"f:labels": {"f:l": {}}},
        "f:spec": {
            "f:size": {},
            "f:words": {},
            "f:tags": {'v:"t"': {}},
            "f:parts": {'k:{"name":"p"}': {".": {}, "f:name": {}, "f:weight": {}}},
            "f:selector": {},
            "f:box": {"f:height": {}},
            "f:free": {"f:map": {".": {}, "f:deep": {}}, "f:list": {}},
        },
    }


async def test_the_same_again_is_no_change(world: Namespace) -> None:
    manifest = a_widget(labels={"l": "1"}, spec={"replicas": 1, "parts": [{"name": "p"}]})
    first = await world.apply(WIDGETS, manifest)

    assert await world.apply(WIDGETS, manifest) == first


async def test_the_same_workload_again_is_no_change(world: Namespace) -> None:
    manifest = a_stateful_set({"name": "c", "image": "i", "ports": [{"containerPort": 80}]})
    await world.apply(STATEFUL_SETS, manifest)
    settled = await world.get(STATEFUL_SETS, "s")

    again = await world.apply(STATEFUL_SETS, manifest)

    assert again["metadata"]["generation"] == settled["metadata"]["generation"]
    assert held_by(again, "us") == held_by(settled, "us")


async def test_a_second_manager_of_the_same_values_holds_them_too(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget(), manager="us")
    live = await world.apply(WIDGETS, a_widget(), manager="them")

    assert held_by(live, "us") == held_by(live, "them") == {"f:spec": {"f:size": {}}}


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        pytest.param({"replicas": 1}, {}, {}, id="a value"),
        pytest.param({"words": ["a"]}, {}, {}, id="a list"),
        pytest.param({"words": ["a", "b"]}, {"words": ["c"]}, {"words": ["c"]}, id="all of an atomic list"),
        pytest.param({"selector": {"a": "1"}}, {"selector": {"b": "2"}}, {"selector": {"b": "2"}}, id="an atomic map"),
        pytest.param({"tags": ["a", "b"]}, {"tags": ["b"]}, {"tags": ["b"]}, id="an item of a set"),
        pytest.param({"parts": [_A, _B]}, {"parts": [_B]}, {"parts": [_B]}, id="an item of a list"),
        pytest.param({"parts": [{**_A, "weight": 1}]}, {"parts": [_A]}, {"parts": [_A]}, id="a field of an item"),
        pytest.param(
            {"box": {"height": 1, "width": 2}}, {"box": {"width": 2}}, {"box": {"width": 2}}, id="in a struct"
        ),
        pytest.param({"box": {"height": 1}}, {}, {}, id="a struct"),
        pytest.param({"free": {"a": {"b": 1}, "c": 2}}, {"free": {"c": 2}}, {"free": {"c": 2}}, id="undeclared"),
    ],
)
async def test_what_is_applied_no_more_is_gone(
    world: Namespace, before: Manifest, after: Manifest, left: Manifest
) -> None:
    await world.apply(WIDGETS, a_widget(spec=before))

    live = await world.apply(WIDGETS, a_widget(spec=after))

    assert live["spec"] == {"size": "small", **left}


async def test_a_struct_that_held_all_there_was_in_it_cannot_be_emptied(world: Namespace) -> None:
    """What is left is null, and of a custom resource null is refused: a map that empties is to be left out."""
    await world.apply(WIDGETS, a_widget(spec={"box": {"height": 1}}))

    with pytest.raises(errors.Refused) as refusal:
        await world.apply(WIDGETS, a_widget(spec={"box": {}}))

    assert refusal.value.status.code == 422


async def test_labels_that_are_applied_no_more_are_gone(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget(labels={"a": "1"}, annotations={"b": "2"}))

    live = await world.apply(WIDGETS, a_widget())

    assert "labels" not in live["metadata"]
    assert "annotations" not in live["metadata"]


async def test_what_another_applied_too_stays_when_we_leave_it_out(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget(spec={"replicas": 3}))
    await world.apply(WIDGETS, a_widget(spec={"replicas": 3}), manager="them")

    live = await world.apply(WIDGETS, a_widget())

    assert live["spec"]["replicas"] == 3
    assert held_by(live, "us") == {"f:spec": {"f:size": {}}}


async def test_what_another_put_into_our_struct_stays_when_we_leave_the_struct_out(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"box": {"height": 1}}))
    await world.change(WIDGETS, live, {"spec": {"box": {"width": 2}}})

    live = await world.apply(WIDGETS, a_widget())

    assert live["spec"] == {"size": "small", "box": {"width": 2}}


async def test_what_another_put_into_our_item_stays_when_we_leave_the_item_out(world: Namespace) -> None:
    """Also what is left of the item: its name, without which it would be none."""
    await world.apply(WIDGETS, a_widget(spec={"parts": [{"name": "a", "weight": 1}, {"name": "b"}]}))
    await world.apply(WIDGETS, a_widget(spec={"parts": [{"name": "a", "colour": "red"}]}), manager="them")

    live = await world.apply(WIDGETS, a_widget(spec={"parts": [{"name": "b"}]}))

    assert live["spec"]["parts"] == [{"name": "a", "colour": "red"}, {"name": "b"}]


async def test_a_field_that_another_changed_is_not_ours_any_more(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))

    changed = await world.change(WIDGETS, live, {"spec": {"replicas": 5}})

    assert changed["spec"]["replicas"] == 5
    assert held_by(changed, "us") == {"f:spec": {"f:size": {}}}
    assert held_by(changed, "them", "Update") == {"f:spec": {"f:replicas": {}}}


async def test_a_field_that_another_set_to_the_value_that_it_had_stays_ours(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))

    assert await world.change(WIDGETS, live, {"spec": {"replicas": 1}}) == live


async def test_a_field_that_another_removed_is_nobodys(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))

    changed = await world.change(WIDGETS, live, {"spec": {"replicas": None}})

    assert held_by(changed, "us") == {"f:spec": {"f:size": {}}}
    assert held_by(changed, "them", "Update") == {}


async def test_a_field_that_its_holder_removed_by_a_patch_is_nobodys(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    await world.change(WIDGETS, live, {"spec": {"replicas": 1, "words": ["a"]}})

    changed = await world.change(WIDGETS, live, {"spec": {"replicas": None}})

    assert held_by(changed, "them", "Update") == {"f:spec": {"f:words": {}}}


async def test_who_applies_and_patches_under_one_name_holds_by_each_apart(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(), manager="them")
    await world.change(WIDGETS, live, {"spec": {"replicas": 1}})

    live = await world.apply(WIDGETS, a_widget(), manager="them")

    assert live["spec"]["replicas"] == 1
    assert held_by(live, "them") == {"f:spec": {"f:size": {}}}
    assert held_by(live, "them", "Update") == {"f:spec": {"f:replicas": {}}}


async def test_force_takes_back_what_another_changed(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))
    await world.change(WIDGETS, live, {"spec": {"replicas": 5}})

    ours = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))

    assert ours["spec"]["replicas"] == 1
    assert held_by(ours, "us") == {"f:spec": {"f:size": {}, "f:replicas": {}}}
    assert held_by(ours, "them", "Update") == {}


async def test_without_force_it_is_a_conflict_that_says_whose_and_where(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))
    await world.change(WIDGETS, live, {"spec": {"replicas": 5, "parts": [{"name": "a", "weight": 1}]}})
    patch = a_widget(spec={"replicas": 1, "parts": [{"name": "a", "weight": 2}]}, namespace=world.name)
    with pytest.raises(errors.Conflict) as conflict:
        await world.send(_unforced(patch))

    details = conflict.value.status.details
    assert details is not None
    assert [(cause.field, cause.message) for cause in details.causes or ()] == [
        (".spec.replicas", 'conflict with "them" using contract.fusioninfer.io/v1'),
        ('.spec.parts[name="a"].weight', 'conflict with "them" using contract.fusioninfer.io/v1'),
    ]


async def test_without_force_who_agrees_is_welcome(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget(), manager="them")

    live = await world.send(_unforced(a_widget(namespace=world.name)))

    assert held_by(live, "us") == {"f:spec": {"f:size": {}}}


def _unforced(manifest: Manifest) -> Request:
    path = WIDGETS.path(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    return Request("PATCH", path, {"fieldManager": "us"}, msgspec.json.encode(manifest), APPLY)


async def test_an_unchanged_part_of_what_another_replaced_stays_ours(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1, "box": {"height": 1}}))

    changed = await world.send(put(WIDGETS, {**live, "spec": {**live["spec"], "replicas": 2}}, manager="them"))

    assert held_by(changed, "us") == {"f:spec": {"f:size": {}, "f:box": {"f:height": {}}}}
    assert held_by(changed, "them", "Update") == {"f:spec": {"f:replicas": {}}}


async def test_whoever_posts_holds_all_of_it(world: Namespace) -> None:
    live = await world.send(post(CONFIG_MAPS, world.name, a_config_map(labels={"l": "1"}), manager="them"))

    assert held_by(live, "them", "Update") == {
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
        "f:data": {".": {}, "f:key": {}},
    }


async def test_what_was_posted_first_is_never_pruned_by_an_apply(world: Namespace) -> None:
    """Which is why nothing is ever created by POST."""
    await world.send(post(CONFIG_MAPS, world.name, a_config_map(data={"a": "1", "b": "2"}), manager="us"))

    live = await world.apply(CONFIG_MAPS, a_config_map(data={"a": "1"}), manager="us")

    assert live["data"] == {"a": "1", "b": "2"}


async def test_an_object_that_nobody_holds_belongs_to_who_was_there_before(world: Namespace) -> None:
    empty = {name: value for name, value in a_config_map().items() if name != "data"}
    live = await world.send(post(CONFIG_MAPS, world.name, empty))
    live = await world.change(CONFIG_MAPS, live, {"data": {"a": "1"}})
    assert "managedFields" not in live["metadata"]

    live = await world.apply(CONFIG_MAPS, a_config_map(data={"b": "2"}))

    assert held_by(live, "before-first-apply", "Update") == {"f:data": {".": {}, "f:a": {}}}
    assert held_by(live, "us") == {"f:data": {"f:b": {}}}


async def test_labels_of_others_survive_ours(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(labels={"ours": "1"}))
    await world.change(WIDGETS, live, {"metadata": {"labels": {"theirs": "2"}}})

    live = await world.apply(WIDGETS, a_widget(labels={"ours": "3"}))

    assert live["metadata"]["labels"] == {"ours": "3", "theirs": "2"}


async def test_the_scale_of_a_workload_belongs_to_who_scaled_it(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))

    scale = await world.change(WIDGETS, live, {"spec": {"replicas": 4}}, sub="scale")

    live = await world.get(WIDGETS, "w")
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 4}
    assert scale["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    assert live["spec"]["replicas"] == 4
    assert live["metadata"]["generation"] == 2
    assert held_by(live, "us") == {"f:spec": {"f:size": {}}}
    assert held_by(live, "them", "Update", "scale") == {"f:spec": {"f:replicas": {}}}


async def test_a_scale_is_guarded_by_the_version(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))
    guarded = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 4}}

    with pytest.raises(errors.Conflict):
        await world.change(WIDGETS, live, guarded, sub="scale")


async def test_while_nobody_holds_the_replicas_who_scales_does_not_come_to_hold_them(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())

    await world.change(WIDGETS, live, {"spec": {"replicas": 4}}, sub="scale")

    scaled = await world.get(WIDGETS, "w")
    assert scaled["spec"]["replicas"] == 4
    assert scaled["metadata"]["managedFields"] == live["metadata"]["managedFields"]


async def test_a_struct_that_we_leave_out_takes_with_it_what_nobody_holds(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    await world.change(WIDGETS, live, {"spec": {"replicas": 4}}, sub="scale")
    without_spec = {name: value for name, value in a_widget(labels={"l": "1"}).items() if name != "spec"}

    live = await world.apply(WIDGETS, without_spec)

    assert "spec" not in live


async def test_true_is_not_one(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget(spec={"free": {"a": 1}}))

    live = await world.apply(WIDGETS, a_widget(spec={"free": {"a": True}}))

    assert live["spec"]["free"]["a"] is True


async def test_empty_metadata_is_left_out(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(labels={}, annotations={}, finalizers=[]))

    assert not {"labels", "annotations", "finalizers"} & set(live["metadata"])


async def test_replicas_that_another_holds_stay_when_we_leave_them_out(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(spec={"replicas": 1}))
    await world.change(WIDGETS, live, {"spec": {"replicas": 4}}, sub="scale")

    live = await world.apply(WIDGETS, a_widget())

    assert live["spec"]["replicas"] == 4


def _by_name(containers: list[Manifest], name: str) -> Manifest:
    return next(container for container in containers if container["name"] == name)


async def test_containers_and_their_variables_are_merged_by_name(world: Namespace) -> None:
    ours = {"name": "engine", "image": "i", "env": [{"name": "A", "value": "1"}]}
    await world.apply(STATEFUL_SETS, a_stateful_set(ours))
    theirs = {"name": "engine", "image": "i", "env": [{"name": "B", "value": "2"}]}
    sidecar = {"name": "sidecar", "image": "s"}
    await world.apply(STATEFUL_SETS, a_stateful_set(theirs, sidecar), manager="them")

    live = await world.apply(STATEFUL_SETS, a_stateful_set({**ours, "env": [{"name": "A", "value": "3"}]}))

    containers = live["spec"]["template"]["spec"]["containers"]
    env = _by_name(containers, "engine")["env"]
    assert sorted(container["name"] for container in containers) == ["engine", "sidecar"]
    assert sorted((variable["name"], variable["value"]) for variable in env) == [("A", "3"), ("B", "2")]


async def test_ports_are_told_apart_by_number_and_protocol_which_is_filled_in(world: Namespace) -> None:
    ports = [{"containerPort": 80, "name": "http"}, {"containerPort": 80, "name": "quic", "protocol": "UDP"}]
    live = await world.apply(STATEFUL_SETS, a_stateful_set({"name": "c", "image": "i", "ports": ports}))
    container = held_by(live, "us")["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']

    assert live["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "name": "http", "protocol": "TCP"},
        {"containerPort": 80, "name": "quic", "protocol": "UDP"},
    ]
    assert container["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:name": {}},
        'k:{"containerPort":80,"protocol":"UDP"}': {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}},
    }


async def test_a_port_that_is_applied_with_its_protocol_later_is_the_same_port(world: Namespace) -> None:
    def workload(**port: Any) -> Manifest:
        return a_stateful_set({"name": "c", "image": "i", "ports": [{"containerPort": 80, **port}]})

    await world.apply(STATEFUL_SETS, workload())

    live = await world.apply(STATEFUL_SETS, workload(protocol="TCP", name="http"))

    ports = live["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "name": "http", "protocol": "TCP"}]


async def test_arguments_are_replaced_as_one(world: Namespace) -> None:
    await world.apply(STATEFUL_SETS, a_stateful_set({"name": "c", "image": "i", "args": ["a", "b", "c"]}))

    live = await world.apply(STATEFUL_SETS, a_stateful_set({"name": "c", "image": "i", "args": ["c", "d"]}))

    assert live["spec"]["template"]["spec"]["containers"][0]["args"] == ["c", "d"]


@pytest.mark.parametrize(
    ("theirs", "ours", "together"),
    [
        pytest.param("abc", "cab", "cab", id="ours counts"),
        pytest.param("xaybz", "ba", "xybza", id="what is theirs alone comes early"),
        pytest.param("abc", "xby", "axbcy", id="around what both have"),
        pytest.param("ab", "cd", "abcd", id="nothing in common"),
        pytest.param("abcd", "dxa", "bcdxa", id="turned around"),
        pytest.param("aXbYc", "cZa", "XbYcZa", id="turned around with others between"),
    ],
)
async def test_the_order_of_items_is_ours_and_keeps_theirs_between(
    world: Namespace, theirs: str, ours: str, together: str
) -> None:
    await world.apply(WIDGETS, a_widget(spec={"parts": [{"name": name} for name in theirs]}), manager="them")

    live = await world.apply(WIDGETS, a_widget(spec={"parts": [{"name": name} for name in ours]}))

    assert "".join(part["name"] for part in live["spec"]["parts"]) == together


async def test_generation_counts_what_is_asked_for_and_nothing_else(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    labelled = await world.apply(WIDGETS, a_widget(labels={"l": "1"}))
    resized = await world.apply(WIDGETS, a_widget(spec={"size": "large"}, labels={"l": "1"}))

    assert [state["metadata"]["generation"] for state in (live, labelled, resized)] == [1, 1, 2]


async def test_times_in_managed_fields_move_only_with_a_change(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    await world.change(WIDGETS, live, {"spec": {"replicas": 1}})
    again = await world.apply(WIDGETS, a_widget())

    ours = [entry for entry in again["metadata"]["managedFields"] if entry["manager"] == "us"]
    assert ours == live["metadata"]["managedFields"]
