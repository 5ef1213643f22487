"""What does not fit the schema or the path, and how the server says so."""

from __future__ import annotations

import msgspec
import pytest

from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import APPLY, Manifest, Request, Resource
from tests.contract.widgets import (
    CONFIG_MAPS,
    STATEFUL_SETS,
    WIDGETS,
    Make,
    Namespace,
    a_config_map,
    a_stateful_set,
    a_widget,
    merge_patch,
    put,
)

TYPED_PATCH = "failed to create typed patch object"

_PART: Manifest = {"name": "p"}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({"nope": 1}, ".spec.nope: field not declared in schema", id="an unknown field"),
        pytest.param({"box": {"depth": 1}}, ".spec.box.depth: field not declared in schema", id="in a struct"),
        pytest.param({"replicas": "one"}, ".spec.replicas: expected numeric", id="a text for a number"),
        pytest.param({"size": 1}, ".spec.size: expected string", id="a number for a text"),
        pytest.param({"box": 1}, ".spec.box: expected map", id="a number for a struct"),
        pytest.param({"words": "a"}, ".spec.words: expected list", id="a text for a list"),
        pytest.param({"parts": [_PART, _PART]}, '.spec.parts: duplicate entries for key [name="p"]', id="a key twice"),
        pytest.param({"tags": ["t", "t"]}, '.spec.tags: duplicate entries for key [="t"]', id="an item of a set twice"),
        pytest.param({"parts": [{"weight": 1}]}, ".spec.parts: element 0: ", id="an item without its key"),
        pytest.param(
            {"parts": [{**_PART, "nope": 1}]}, '.spec.parts[name="p"].nope: field not declared', id="in an item"
        ),
    ],
)
async def test_an_apply_that_does_not_fit_is_refused_and_says_where(
    world: Namespace, spec: Manifest, says: str
) -> None:
    before = await world.apply(WIDGETS, a_widget())

    with pytest.raises(errors.Refused) as refusal:
        await world.apply(WIDGETS, a_widget(spec=spec))

    assert refusal.value.status.code == 500
    assert refusal.value.status.message.startswith(TYPED_PATCH)
    assert says in refusal.value.status.message
    assert await world.get(WIDGETS, "w") == before


@pytest.mark.parametrize(
    "container",
    [
        pytest.param({"name": "c", "imagee": "i"}, id="an unknown field"),
        pytest.param({"name": "c", "args": "--flag"}, id="a text for a list"),
        pytest.param({"name": "c", "env": [{"name": "A", "value": 1}]}, id="a number for a text"),
        pytest.param({"name": "c", "resources": {"limits": {"cpu": {"a": 1}}}}, id="a map for a quantity"),
        pytest.param({"name": "c", "env": [{"name": "A"}, {"name": "A"}]}, id="a variable twice"),
        pytest.param({"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 80}]}, id="a port twice"),
    ],
)
async def test_an_apply_of_a_built_in_kind_that_does_not_fit_is_refused(world: Namespace, container: Manifest) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await world.apply(STATEFUL_SETS, a_stateful_set({"image": "i", **container}))

    assert refusal.value.status.message.startswith(TYPED_PATCH)


async def test_a_quantity_is_a_text_or_a_number(world: Namespace) -> None:
    resources = {"requests": {"cpu": 1, "memory": "1Gi"}}

    await world.apply(STATEFUL_SETS, a_stateful_set({"name": "c", "image": "i", "resources": resources}))


async def test_an_unknown_label_of_metadata_is_refused(world: Namespace) -> None:
    with pytest.raises(errors.Refused, match=r"\.metadata\.foo: field not declared in schema"):
        await world.apply(WIDGETS, a_widget(foo="bar"))


async def test_what_does_not_fit_is_refused_before_any_guard_is_looked_at(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget())

    with pytest.raises(errors.Refused, match=TYPED_PATCH):
        await world.apply(WIDGETS, a_widget(spec={"nope": 1}, **requests.ABSENT))


@pytest.mark.parametrize(
    ("resource", "make", "patch"),
    [
        pytest.param(WIDGETS, a_widget, {"spec": {"nope": 1, "replicas": 2}}, id="custom"),
        pytest.param(CONFIG_MAPS, a_config_map, {"nope": 1, "data": {"new": "yes"}}, id="built-in"),
    ],
)
async def test_unknown_fields_of_a_patch_are_dropped(
    world: Namespace, resource: Resource, make: Make, patch: Manifest
) -> None:
    live = await world.apply(resource, make("w"))

    changed = await world.change(resource, live, patch)

    assert "nope" not in changed
    assert "nope" not in changed.get("spec", {})
    assert changed != live


@pytest.mark.parametrize(
    ("resource", "make", "patch"),
    [
        pytest.param(WIDGETS, a_widget, {"spec": {"replicas": "one"}}, id="custom"),
        pytest.param(CONFIG_MAPS, a_config_map, {"data": "text"}, id="built-in"),
    ],
)
async def test_a_patch_of_the_wrong_type_is_refused(
    world: Namespace, resource: Resource, make: Make, patch: Manifest
) -> None:
    live = await world.apply(resource, make("w"))

    with pytest.raises(errors.Refused) as refusal:
        await world.change(resource, live, patch)

    assert refusal.value.status.code == 422


def _apply(path: str, body: object, **query: str) -> Request:
    return Request("PATCH", path, {"fieldManager": "us", "force": "true", **query}, msgspec.json.encode(body), APPLY)


async def test_an_apply_needs_a_manager(world: Namespace) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await world.send(_apply(CONFIG_MAPS.path(world.name, "c"), a_config_map(), fieldManager=""))

    assert refusal.value.status.code == 422


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({**a_config_map(), "kind": "Secret"}, id="another kind"),
        pytest.param({**a_config_map(), "apiVersion": "v2"}, id="another version"),
        pytest.param(a_config_map("d"), id="another name"),
        pytest.param(a_config_map(namespace="elsewhere"), id="another namespace"),
        pytest.param(a_config_map(managedFields=[]), id="managedFields"),
        pytest.param(["c"], id="a list"),
    ],
)
async def test_an_apply_of_something_else_than_the_path_says_is_refused(world: Namespace, body: object) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await world.send(_apply(CONFIG_MAPS.path(world.name, "c"), body))

    assert refusal.value.status.code == 400


async def test_an_apply_that_is_no_json_is_refused(world: Namespace) -> None:
    path = CONFIG_MAPS.path(world.name, "c")

    with pytest.raises(errors.Refused) as refusal:
        await world.send(Request("PATCH", path, {"fieldManager": "us"}, b'{"kind": ', APPLY))

    assert refusal.value.status.code == 400


async def test_a_patch_of_an_unknown_type_is_refused(world: Namespace) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await world.send(Request("PATCH", CONFIG_MAPS.path(world.name, "c"), {}, b"{}", "text/plain"))

    assert refusal.value.status.code == 415


async def test_there_is_nothing_to_read_patch_or_delete_where_nothing_is(world: Namespace) -> None:
    absent = a_config_map(namespace=world.name, uid="u")

    for request in (
        requests.get(CONFIG_MAPS, world.name, "c"),
        requests.delete(CONFIG_MAPS, world.name, "c", uid="u"),
        merge_patch(CONFIG_MAPS, absent, {"data": {}}, manager="them"),
    ):
        with pytest.raises(errors.NotFound):
            await world.send(request)


async def test_a_kind_that_is_not_served_is_not_found(world: Namespace) -> None:
    unknown = Resource("nope.fusioninfer.io", "v1", "Nope", "nopes")

    with pytest.raises(errors.NotFound):
        await world.send(requests.list_page(unknown, world.name))
    with pytest.raises(errors.NotFound):
        await world.apply(unknown, {"apiVersion": "nope.fusioninfer.io/v1", "kind": "Nope", "metadata": {"name": "n"}})
    watch = requests.watch(unknown, world.name, resource_version="0", timeout_seconds=1)
    with pytest.raises(errors.NotFound):
        await anext(aiter(world.frames(watch)))


async def test_an_object_of_a_namespace_is_not_found_without_one(world: Namespace) -> None:
    with pytest.raises(errors.NotFound):
        await world.send(_apply(WIDGETS.path("", "w"), a_widget()))


async def test_a_patch_guarded_by_a_past_version_is_a_conflict(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())

    with pytest.raises(errors.Conflict):
        await world.change(WIDGETS, live, {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}})


async def test_a_patch_cannot_give_another_uid(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())

    with pytest.raises(errors.Refused) as refusal:
        await world.change(WIDGETS, live, {"metadata": {"uid": "another"}})

    assert refusal.value.status.code == 422


async def test_a_custom_resource_is_put_only_over_the_version_that_was_seen(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())
    metadata = live["metadata"]

    unguarded = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    with pytest.raises(errors.Refused):
        await world.send(put(WIDGETS, {**live, "metadata": unguarded}, manager="them"))
    with pytest.raises(errors.Conflict):
        await world.send(put(WIDGETS, {**live, "metadata": {**metadata, "resourceVersion": "1"}}, manager="them"))
