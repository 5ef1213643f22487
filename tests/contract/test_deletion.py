"""Deletion: its guard, finalizers, and what becomes of dependents."""

from __future__ import annotations

import pytest

from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import Manifest
from tests.contract.widgets import CONFIG_MAPS, WIDGETS, Namespace, a_config_map, a_widget, eventually, owned_by

FINALIZER = "contract.fusioninfer.io/wait"


async def _is_gone(world: Namespace, resource: requests.Resource, name: str) -> bool:
    try:
        await world.get(resource, name)
    except errors.NotFound:
        return True
    return False


async def test_what_is_deleted_is_gone(world: Namespace) -> None:
    live = await world.apply(CONFIG_MAPS, a_config_map())

    answer = await world.delete(CONFIG_MAPS, live)

    assert answer["kind"] == "Status"
    assert answer["details"]["uid"] == live["metadata"]["uid"]
    assert await _is_gone(world, CONFIG_MAPS, "c")


async def test_an_object_of_another_uid_is_not_deleted(world: Namespace) -> None:
    live = await world.apply(CONFIG_MAPS, a_config_map())

    with pytest.raises(errors.Conflict):
        await world.send(requests.delete(CONFIG_MAPS, world.name, "c", uid="another"))

    assert await world.get(CONFIG_MAPS, "c") == live


async def test_an_object_of_the_same_name_has_another_uid(world: Namespace) -> None:
    first = await world.apply(CONFIG_MAPS, a_config_map())
    await world.delete(CONFIG_MAPS, first)
    second = await world.apply(CONFIG_MAPS, a_config_map())

    with pytest.raises(errors.Conflict):
        await world.delete(CONFIG_MAPS, first)

    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert await world.get(CONFIG_MAPS, "c") == second


async def _dependent(world: Namespace, owner: Manifest, name: str = "d", *, blocks: bool = False) -> Manifest:
    return await world.apply(CONFIG_MAPS, a_config_map(name, ownerReferences=owned_by(owner, blocks=blocks)))


async def test_dependents_go_after_their_owner(world: Namespace) -> None:
    owner = await world.apply(WIDGETS, a_widget())
    await _dependent(world, owner)
    await world.apply(CONFIG_MAPS, a_config_map("stranger"))

    await world.delete(WIDGETS, owner)

    assert await _is_gone(world, WIDGETS, "w")
    await eventually(lambda: _is_gone(world, CONFIG_MAPS, "d"), "the dependent to go")
    assert not await _is_gone(world, CONFIG_MAPS, "stranger")


async def test_dependents_of_dependents_go_too(world: Namespace) -> None:
    owner = await world.apply(WIDGETS, a_widget())
    middle = await world.apply(WIDGETS, a_widget("middle", ownerReferences=owned_by(owner)))
    await _dependent(world, middle)

    await world.delete(WIDGETS, owner)

    await eventually(lambda: _is_gone(world, CONFIG_MAPS, "d"), "the dependent of the dependent to go")
    assert await _is_gone(world, WIDGETS, "middle")


async def test_what_is_made_for_an_owner_that_is_gone_goes(world: Namespace) -> None:
    owner = await world.apply(WIDGETS, a_widget())
    await world.delete(WIDGETS, owner)

    await _dependent(world, owner)

    await eventually(lambda: _is_gone(world, CONFIG_MAPS, "d"), "the dependent to go")


async def test_what_belongs_to_an_owner_of_the_same_name_before_goes(world: Namespace) -> None:
    before = await world.apply(WIDGETS, a_widget())
    await world.delete(WIDGETS, before)
    await world.apply(WIDGETS, a_widget())

    await _dependent(world, before)

    await eventually(lambda: _is_gone(world, CONFIG_MAPS, "d"), "the dependent to go")
    assert not await _is_gone(world, WIDGETS, "w")


async def test_a_dependent_with_another_owner_stays_and_forgets_the_one_that_went(world: Namespace) -> None:
    first = await world.apply(WIDGETS, a_widget("first"))
    second = await world.apply(WIDGETS, a_widget("second"))
    (reference,) = owned_by(second)
    owners = [*owned_by(first), {**reference, "controller": False}]
    await world.apply(CONFIG_MAPS, a_config_map("d", ownerReferences=owners))

    await world.delete(WIDGETS, first)

    async def has_one_owner() -> bool:
        live = await world.get(CONFIG_MAPS, "d")
        return [owner["name"] for owner in live["metadata"]["ownerReferences"]] == ["second"]

    await eventually(has_one_owner, "the dependent to forget its first owner")


async def test_orphans_stay_without_an_owner(world: Namespace) -> None:
    owner = await world.apply(WIDGETS, a_widget())
    dependent = await _dependent(world, owner)

    await world.delete(WIDGETS, owner, "Orphan")

    await eventually(lambda: _is_gone(world, WIDGETS, "w"), "the owner to go")
    orphan = await world.get(CONFIG_MAPS, "d")
    assert orphan["metadata"]["uid"] == dependent["metadata"]["uid"]
    assert "ownerReferences" not in orphan["metadata"]
    assert orphan["data"] == dependent["data"]


async def test_in_the_foreground_the_owner_waits_for_those_that_block_it(world: Namespace) -> None:
    owner = await world.apply(WIDGETS, a_widget())
    dependent = await _dependent(world, owner, blocks=True)
    await world.change(CONFIG_MAPS, dependent, {"metadata": {"finalizers": [FINALIZER]}})

    answer = await world.delete(WIDGETS, owner, "Foreground")

    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert answer["metadata"]["deletionTimestamp"]
    assert answer["metadata"]["generation"] == 2

    async def is_going() -> bool:
        return "deletionTimestamp" in (await world.get(CONFIG_MAPS, "d"))["metadata"]

    await eventually(is_going, "the dependent to be deleted")
    assert not await _is_gone(world, WIDGETS, "w")
    await world.change(CONFIG_MAPS, dependent, {"metadata": {"finalizers": None}})
    await eventually(lambda: _is_gone(world, WIDGETS, "w"), "the owner to go")
    assert await _is_gone(world, CONFIG_MAPS, "d")


async def test_in_the_foreground_those_that_do_not_block_go_afterwards(world: Namespace) -> None:
    owner = await world.apply(WIDGETS, a_widget())
    dependent = await _dependent(world, owner, blocks=False)
    await world.change(CONFIG_MAPS, dependent, {"metadata": {"finalizers": [FINALIZER]}})

    await world.delete(WIDGETS, owner, "Foreground")

    await eventually(lambda: _is_gone(world, WIDGETS, "w"), "the owner to go")
    await world.change(CONFIG_MAPS, dependent, {"metadata": {"finalizers": None}})
    await eventually(lambda: _is_gone(world, CONFIG_MAPS, "d"), "the dependent to go")


async def test_what_has_a_finalizer_waits_and_is_marked(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(finalizers=[FINALIZER]))

    answer = await world.delete(WIDGETS, live)

    assert answer["metadata"]["deletionTimestamp"]
    assert await world.get(WIDGETS, "w") == answer
    assert await world.delete(WIDGETS, live) == answer, "to delete it again changes nothing"
    await world.change(WIDGETS, live, {"metadata": {"finalizers": None}})
    assert await _is_gone(world, WIDGETS, "w")


async def test_an_object_that_is_marked_can_still_be_applied_and_stays_marked(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(finalizers=[FINALIZER]))
    marked = await world.delete(WIDGETS, live)

    changed = await world.apply(WIDGETS, a_widget(finalizers=[FINALIZER], spec={"replicas": 1}))

    assert changed["spec"]["replicas"] == 1
    assert changed["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]


async def test_an_apply_without_the_finalizer_lets_a_marked_object_go(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(finalizers=[FINALIZER]))
    await world.delete(WIDGETS, live)

    await world.apply(WIDGETS, a_widget())

    assert await _is_gone(world, WIDGETS, "w")


async def test_a_marked_object_gets_no_new_finalizer(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(finalizers=[FINALIZER]))
    await world.delete(WIDGETS, live)

    with pytest.raises(errors.Refused) as refusal:
        await world.apply(WIDGETS, a_widget(finalizers=[FINALIZER, f"{FINALIZER}-too"]))

    assert refusal.value.status.code == 422
    await world.apply(WIDGETS, a_widget())
