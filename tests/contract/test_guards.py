"""What an apply may be guarded by, and what happens without."""

from __future__ import annotations

import pytest

from fusioninfer.kube import errors
from fusioninfer.kube.requests import ABSENT, Manifest, Resource
from tests.contract.widgets import CONFIG_MAPS, LEASES, WIDGETS, Make, Namespace, a_config_map, a_widget, held_by, post

KINDS = pytest.mark.parametrize(
    ("resource", "make"),
    [pytest.param(WIDGETS, a_widget, id="custom"), pytest.param(CONFIG_MAPS, a_config_map, id="built-in")],
)
STRANGER = "11111111-2222-3333-4444-555555555555"


@KINDS
async def test_an_object_that_must_be_absent_is_created(world: Namespace, resource: Resource, make: Make) -> None:
    live = await world.apply(resource, make("w", **ABSENT))

    assert live["metadata"]["uid"]
    assert live["metadata"]["resourceVersion"] != "1"
    assert await world.get(resource, "w") == live


@KINDS
async def test_an_object_that_must_be_absent_and_is_there_stays_as_it_is(
    world: Namespace, resource: Resource, make: Make
) -> None:
    before = await world.apply(resource, make("w"))

    with pytest.raises(errors.Conflict):
        await world.apply(resource, make("w", labels={"new": "yes"}, **ABSENT))

    assert await world.get(resource, "w") == before


async def test_an_object_that_must_be_absent_is_not_taken_from_who_posted_it(world: Namespace) -> None:
    await world.send(post(CONFIG_MAPS, world.name, a_config_map()))

    with pytest.raises(errors.Conflict):
        await world.apply(CONFIG_MAPS, a_config_map("c", None, **ABSENT))


@KINDS
async def test_the_object_of_that_uid_is_changed(world: Namespace, resource: Resource, make: Make) -> None:
    live = await world.apply(resource, make("w"))

    changed = await world.apply(resource, make("w", uid=live["metadata"]["uid"], labels={"new": "yes"}))

    assert changed["metadata"]["labels"] == {"new": "yes"}


@KINDS
async def test_an_object_of_that_uid_that_is_gone_is_not_made_anew(
    world: Namespace, resource: Resource, make: Make
) -> None:
    with pytest.raises(errors.Conflict):
        await world.apply(resource, make("w", uid=STRANGER))

    assert await world.names(resource, "!kubernetes.io") in ([], ["kube-root-ca.crt"])


@KINDS
async def test_an_object_of_another_uid_is_left_alone(world: Namespace, resource: Resource, make: Make) -> None:
    before = await world.apply(resource, make("w"))

    with pytest.raises(errors.Refused) as refusal:
        await world.apply(resource, make("w", uid=STRANGER, labels={"new": "yes"}))

    assert refusal.value.status.code == 422
    assert "field is immutable" in refusal.value.status.message
    assert await world.get(resource, "w") == before


async def test_without_a_guard_a_strangers_object_is_taken_over(world: Namespace) -> None:
    """Which is why nothing is ever applied without one."""
    theirs = await world.send(post(CONFIG_MAPS, world.name, a_config_map(data={"key": "theirs"})))

    taken = await world.apply(CONFIG_MAPS, a_config_map(data={"key": "ours"}))

    assert taken["metadata"]["uid"] == theirs["metadata"]["uid"]
    assert taken["data"] == {"key": "ours"}
    assert held_by(taken, "us") == {"f:data": {"f:key": {}}}


async def test_a_version_that_is_past_is_a_conflict(world: Namespace) -> None:
    first = await world.apply(CONFIG_MAPS, a_config_map(data={"key": "1"}))
    await world.apply(CONFIG_MAPS, a_config_map(data={"key": "2"}))

    seen = {name: first["metadata"][name] for name in ("uid", "resourceVersion")}
    with pytest.raises(errors.Conflict):
        await world.apply(CONFIG_MAPS, a_config_map(data={"key": "3"}, **seen))


async def test_a_past_version_is_a_conflict_even_if_nothing_would_change(world: Namespace) -> None:
    first = await world.apply(CONFIG_MAPS, a_config_map(data={"key": "1"}))
    await world.apply(CONFIG_MAPS, a_config_map(data={"key": "2"}))

    version = first["metadata"]["resourceVersion"]
    with pytest.raises(errors.Conflict):
        await world.apply(CONFIG_MAPS, a_config_map(data={"key": "2"}, resourceVersion=version))


async def test_any_version_alone_makes_an_absent_object_anew(world: Namespace) -> None:
    live = await world.apply(CONFIG_MAPS, a_config_map(resourceVersion="12345"))

    assert live["data"] == {"key": "value"}


async def test_of_two_who_renew_a_lease_that_both_saw_the_second_is_told(world: Namespace) -> None:
    def lease(holder: str, **guard: str) -> Manifest:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
        metadata = {"name": "l", **guard}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    seen = await world.apply(LEASES, lease("nobody", **ABSENT), manager="leader")
    guard = {name: seen["metadata"][name] for name in ("uid", "resourceVersion")}

    first = await world.apply(LEASES, lease("first", **guard), manager="leader")
    with pytest.raises(errors.Conflict):
        await world.apply(LEASES, lease("second", **guard), manager="leader")

    assert first["spec"]["holderIdentity"] == "first"
    assert (await world.get(LEASES, "l"))["spec"]["holderIdentity"] == "first"


async def test_who_posts_what_is_there_is_told_so(world: Namespace) -> None:
    await world.send(post(CONFIG_MAPS, world.name, a_config_map()))

    with pytest.raises(errors.Conflict) as conflict:
        await world.send(post(CONFIG_MAPS, world.name, a_config_map()))

    assert conflict.value.status.reason == "AlreadyExists"
