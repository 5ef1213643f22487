"""How much the gang asks for, whatever runs, was asked for before, or is on its way."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.gang import Member
from fusioninfer.reconcile.gang import InGang, NextGang, next_gang, next_members
from tests import make

# --- the rules ----------------------------------------------------------------------------------------------------

Asked = dict[str, tuple[int, int]]
"""By role: the pods of one copy, and the copies that must fit."""


def asked_next(wanted: Asked, before: Asked, roles: dict[str, InGang], *, begins: bool = True) -> Asked:
    known = {member.role: member for member in members(before)}
    asked = next_members(members(wanted), known, [roles[name] for name in wanted], begins=begins)
    return {member.role: (member.nodes, member.needed) for member in asked}


def members(asked: Asked) -> list[Member]:
    return [Member(role, nodes, needed) for role, (nodes, needed) in asked.items()]


def placed(on_nodes: int = 0, *, some: bool | None = None, outside: bool = False) -> InGang:
    """A role of which so many copies are on nodes; `some`: and at least one pod."""
    return InGang(9, on_nodes, outside, on_nodes > 0 if some is None else some)


@pytest.mark.parametrize(
    ("wanted", "before", "role", "asked"),
    [
        pytest.param((1, 3), None, placed(outside=True), 0, id="1: a pod is outside: nothing"),
        pytest.param((1, 3), (1, 3), placed(3, outside=True), 0, id="1: also where enough are inside"),
        pytest.param((1, 3), None, placed(), 3, id="2: it begins: all"),
        pytest.param((1, 3), (1, 2), placed(), 3, id="2: it was raised before anything had a node"),
        pytest.param((1, 3), (1, 0), placed(), 3, id="2: it asked for nothing while there were pods outside"),
        pytest.param((1, 3), (1, 3), placed(), 3, id="2: all was lost, it begins anew"),
        pytest.param((1, 2), (1, 3), placed(), 2, id="2: it was lowered before anything had a node"),
        pytest.param((1, 3), (1, 2), placed(3), 3, id="3: all are on nodes: all"),
        pytest.param((1, 3), (1, 0), placed(4), 3, id="3: a surplus copy makes it no more"),
        pytest.param((1, 1), (1, 3), placed(3), 1, id="3: fewer are wanted than run"),
        pytest.param((1, 0), (1, 3), placed(2), 0, id="3: none is wanted"),
        pytest.param((1, 0), None, placed(), 0, id="3: none is wanted and none runs"),
        pytest.param((1, 3), (1, 2), placed(2), 2, id="4: an added copy starts alone"),
        pytest.param((1, 3), (1, 2), placed(1), 2, id="4: the place of one that ended is kept beside an added one"),
        pytest.param((1, 3), (1, 3), placed(2), 3, id="4: one that was lost finds its place again"),
        pytest.param((1, 2), (1, 4), placed(1), 2, id="4: it shrinks while one waits"),
        pytest.param((1, 3), None, placed(1), 0, id="4: no group was there before"),
        pytest.param((4, 2), (4, 2), placed(some=True), 2, id="4: a part of a copy is on nodes"),
        pytest.param((4, 3), (4, 2), placed(some=True), 2, id="4: a part of a copy is no beginning"),
    ],
)
def test_a_gang_asks_for_the_whole_only_where_nothing_or_the_whole_runs(
    wanted: tuple[int, int], before: tuple[int, int] | None, role: InGang, asked: int
) -> None:
    asked_before = {} if before is None else {"a": before}

    assert asked_next({"a": wanted}, asked_before, {"a": role}) == {"a": (wanted[0], asked)}


@pytest.mark.parametrize(
    ("before", "wanted", "role", "asked"),
    [
        pytest.param((2, 2), (4, 2), placed(1), (2, 2), id="2 to 4: while both run, all reach 2"),
        pytest.param((2, 2), (4, 2), placed(2), (4, 2), id="2 to 4: all are of 4"),
        pytest.param((2, 2), (4, 2), placed(), (4, 2), id="2 to 4: nothing has a node"),
        pytest.param((2, 2), (4, 3), placed(1), (2, 2), id="2 to 4 and one more"),
        pytest.param((4, 2), (2, 2), placed(1), (2, 2), id="4 to 2: all reach 2"),
        pytest.param((4, 2), (2, 2), placed(2), (2, 2), id="4 to 2: all are of 2"),
        pytest.param((4, 2), (2, 3), placed(), (2, 2), id="4 to 2 and one more, step by step"),
        pytest.param((1, 2), (4, 1), placed(some=True), (4, 0), id="1 to 4: it begins anew, and may not ask for more"),
        pytest.param((4, 1), (1, 2), placed(some=True), (1, 1), id="4 to 1: they are never there together"),
    ],
)
def test_while_copies_of_two_sizes_run_the_gang_asks_for_the_size_that_all_reach(
    before: tuple[int, int], wanted: tuple[int, int], role: InGang, asked: tuple[int, int]
) -> None:
    assert asked_next({"a": wanted}, {"a": before}, {"a": role}) == {"a": asked}


TWO: Asked = {"a": (4, 2), "b": (1, 1)}


@pytest.mark.parametrize(
    ("wanted", "before", "roles", "asked"),
    [
        pytest.param(TWO, {}, (placed(), placed()), TWO, id="all at once"),
        pytest.param(
            TWO, TWO, (placed(2), placed(outside=True)), {"a": (4, 0), "b": (1, 0)}, id="a pod of one is outside"
        ),
        pytest.param(
            {**TWO, "b": (1, 2)}, TWO, (placed(2), placed(1)), TWO, id="one grows while the other is whole"
        ),
        pytest.param({**TWO, "b": (1, 2)}, TWO, (placed(2), placed(2)), {**TWO, "b": (1, 2)}, id="one has grown"),
        pytest.param(
            {**TWO, "b": (1, 2)}, TWO, (placed(1), placed(2)), TWO, id="what has grown is not counted in beside a loss"
        ),
        pytest.param(TWO, {"a": (4, 2)}, (placed(2), placed()), {"a": (4, 2), "b": (1, 0)}, id="a role is added"),
        pytest.param({"a": (4, 2)}, TWO, (placed(1),), {"a": (4, 2)}, id="a role is removed"),
        pytest.param(
            {"a": (4, 3)}, TWO, (placed(),), {"a": (4, 2)}, id="a role is removed and another grows, step by step"
        ),
        pytest.param(
            {"c": (1, 3)}, {"a": (1, 3)}, (placed(),), {"c": (1, 3)},
            id="a role is renamed before anything had a node: the new one is needed at once",
        ),
        pytest.param({"a": (4, 0), "b": (1, 1)}, TWO, (placed(), placed(1)), {"a": (4, 0), "b": (1, 1)}, id="one at 0"),
        pytest.param(
            {"a": (4, 1), "b": (1, 3)}, TWO, (placed(), placed()), {"a": (4, 1), "b": (1, 1)},
            id="one shrinks and one grows before anything had a node: the shrinking first",
        ),
    ],
)  # fmt: skip
def test_roles_are_counted_in_together(
    wanted: Asked, before: Asked, roles: tuple[InGang, ...], asked: Asked
) -> None:  # fmt: skip
    assert asked_next(wanted, before, dict(zip(wanted, roles, strict=True))) == asked


# --- from what was seen -------------------------------------------------------------------------------------------

ONE = make.a_role(replicas=1)
TWO_COPIES = make.a_role(replicas=2)
THREE = make.a_role(replicas=3)


def next_of(
    *pods: Manifest,
    roles: tuple[Manifest, ...] = (TWO_COPIES,),
    before: tuple[Manifest, ...] | None = None,
    group: bool = True,
    strategy: Manifest = make.GANG,
    live: dict[str, Any] | None = None,
) -> NextGang | None:
    """The next gang of `roles`, whose objects stand as they were applied for `before`; with a group or none yet."""
    applied = make.desired(*(before or roles), schedulingStrategy=make.GANG).manifests
    children = tuple(make.applied(it) for it in applied if group or it["kind"] != "PodGroup")
    children = tuple(
        {**it, **(live or {})} if it["kind"] in ("StatefulSet", "LeaderWorkerSet") else it for it in children
    )
    raw = make.raw_service(*roles, schedulingStrategy=strategy)
    return next_gang(
        make.desired(*roles, schedulingStrategy=strategy), make.a_snapshot(raw, children=children, pods=pods)
    )


def asked(gang: NextGang | None) -> Asked | None:
    """What the gang asks for, by role."""
    if gang is None:
        return None
    parts = gang.manifest["spec"]["subGroupPolicy"]
    return {part["name"]: (part["subGroupSize"], part["minSubGroups"]) for part in parts}


def inside(index: int = 0, **fields: Any) -> Manifest:
    """A pod on a node that belongs to the gang."""
    return make.in_gang(make.a_ready_pod(index, **fields))


def test_where_no_gang_is_asked_for_and_no_pod_names_one_there_is_none() -> None:
    assert next_of(make.a_ready_pod(), make.in_gang(make.a_ready_pod(1), "another"), strategy={}) is None


@pytest.mark.parametrize(
    "pod", [inside(), make.in_gang(make.a_pod()), make.that_ends(inside())], ids=["placed", "waiting", "ending"]
)
def test_a_gang_that_is_not_asked_for_any_more_stays_for_the_pods_that_name_it_and_asks_for_nothing(
    pod: Manifest,
) -> None:
    gang = next_of(pod, make.a_ready_pod(1), strategy={})

    assert asked(gang) == {"inference": (1, 0)}
    assert gang is not None
    assert gang.manifest["spec"]["minMember"] == 1
    assert gang.comes_first


@pytest.mark.parametrize(
    ("pods", "copies"),
    [
        pytest.param((), 2, id="none is there"),
        pytest.param((make.in_gang(make.a_pod(0)), make.in_gang(make.a_pod(1))), 2, id="inside, none placed"),
        pytest.param((inside(0), inside(1)), 2, id="inside and placed"),
        pytest.param((make.a_ready_pod(0), inside(1)), 0, id="one was made before there was a gang"),
        pytest.param((make.in_gang(make.a_pod(0), "qwen-inference-0-abc"), inside(1)), 0, id="one is in another gang"),
        pytest.param((make.a_pod(0),), 0, id="one outside that waits"),
        pytest.param((make.that_ends(make.a_ready_pod(0)),), 2, id="one outside that ends counts for nothing"),
        pytest.param((make.that_ends(inside(0)),), 2, id="one inside that ends counts for nothing"),
    ],
)
def test_what_is_in_the_gang_is_told_by_the_annotation_on_its_pods(pods: tuple[Manifest, ...], copies: int) -> None:
    assert asked(next_of(*pods)) == {"inference": (1, copies)}


@pytest.mark.parametrize(
    ("pods", "before", "roles", "copies", "first"),
    [
        pytest.param((inside(0), inside(1)), TWO_COPIES, TWO_COPIES, 2, False, id="as it was"),
        pytest.param((inside(0), inside(1)), TWO_COPIES, THREE, 2, False, id="grows: the copy is made first"),
        pytest.param((inside(0), inside(1), inside(2)), TWO_COPIES, THREE, 3, False, id="grown: then it is counted in"),
        pytest.param((inside(0), inside(1), inside(2)), THREE, TWO_COPIES, 2, True, id="shrinks: the group first"),
        pytest.param((), TWO_COPIES, THREE, 3, False, id="grows before it began"),
        pytest.param((), THREE, TWO_COPIES, 2, True, id="shrinks before it began"),
        pytest.param((inside(0),), TWO_COPIES, make.a_role(replicas=0), 0, True, id="to nothing"),
        pytest.param((make.that_ends(inside(0)), inside(1)), TWO_COPIES, THREE, 2, False, id="one ends while it grows"),
    ],
)
def test_the_group_comes_first_when_it_is_lowered_and_after_the_workloads_when_it_is_raised(
    pods: tuple[Manifest, ...], before: Manifest, roles: Manifest, copies: int, first: bool
) -> None:
    gang = next_of(*pods, roles=(roles,), before=(before,))

    assert asked(gang) == {"inference": (1, copies)}
    assert gang is not None
    assert gang.comes_first is first


def test_a_new_group_comes_first_since_pods_name_it() -> None:
    gang = next_of(group=False)

    assert gang is not None
    assert gang.comes_first


def test_a_removed_role_leaves_the_group_before_its_workload_goes() -> None:
    prefill, decode = make.prefill_and_decode()
    two_decoders = (prefill, decode, {**decode, "name": "more"})
    pods = (inside(workload="qwen-prefill"), inside(workload="qwen-decode"), inside(workload="qwen-more"))

    gang = next_of(*pods, roles=(prefill, decode), before=two_decoders)

    assert asked(gang) == {"prefill": (1, 1), "decode": (1, 1)}
    assert gang is not None
    assert gang.comes_first


@pytest.mark.parametrize(
    ("strategy", "needed"),
    [
        pytest.param(make.GANG, 3, id="All: as many as there are now"),
        pytest.param({**make.GANG, "gang": {"mode": "MinReplicas"}}, 1, id="MinReplicas: 1"),
        pytest.param(
            {**make.GANG, "gang": {"mode": "MinReplicas", "minReplicas": {"inference": 5}}}, 3,
            id="MinReplicas of more than there are now",
        ),
    ],
)  # fmt: skip
def test_copies_that_others_count_are_as_many_as_the_live_workload_says(strategy: Manifest, needed: int) -> None:
    role = {key: value for key, value in ONE.items() if key != "replicas"}
    live = make.desired(role, schedulingStrategy=strategy).roles[0].workload["spec"]
    pods = tuple(inside(index) for index in range(3))

    assert asked(next_of(*pods, roles=(role,), strategy=strategy, live={"spec": {**live, "replicas": 3}})) == {
        "inference": (1, needed)
    }


def test_a_group_that_is_a_strangers_tells_nothing_of_what_was_asked_before() -> None:
    roles = (TWO_COPIES,)
    desired = make.desired(*roles, schedulingStrategy=make.GANG)
    children = [make.applied(manifest) for manifest in desired.manifests]
    group = next(child for child in children if child["kind"] == "PodGroup")
    group["metadata"]["ownerReferences"] = [{"uid": "somebody", "kind": "Job", "name": "train", "controller": True}]
    raw = make.raw_service(*roles, schedulingStrategy=make.GANG)

    gang = next_gang(desired, make.a_snapshot(raw, children=tuple(children), pods=(inside(0),)))

    assert asked(gang) == {"inference": (1, 0)}
    assert gang is not None
    assert gang.comes_first


# --- copies of several nodes ---

SEVERAL = make.a_role_of_nodes(2, replicas=2)
MARK = make.desired(SEVERAL, schedulingStrategy=make.GANG).roles[0].workload["metadata"]["annotations"][names.TEMPLATE]


def copy(
    index: int, *, nodes: int = 2, missing: tuple[int, ...] = (), unplaced: tuple[int, ...] = ()
) -> list[Manifest]:
    pods = make.a_group(index, nodes=nodes, template=MARK, missing=missing, unready=unplaced)
    return [make.in_gang(pod) for pod in pods]


@pytest.mark.parametrize(
    ("pods", "needed"),
    [
        pytest.param([*copy(0), *copy(1), *copy(2)], 3, id="all are on nodes"),
        pytest.param([*copy(0), *copy(1), *copy(2, unplaced=(1,))], 2, id="a worker of the added copy has no node"),
        pytest.param([*copy(0), *copy(1), *copy(2, unplaced=(0, 1))], 2, id="the added copy has none"),
        pytest.param([*copy(0), *copy(1), *copy(2, missing=(1,))], 2, id="a worker of the added copy is not made yet"),
        pytest.param([*copy(0), *copy(1), *copy(2, nodes=3)], 2, id="one is of another size"),
    ],
)
def test_a_copy_is_counted_in_when_all_of_its_pods_are_on_nodes(pods: list[Manifest], needed: int) -> None:
    grown = make.a_role_of_nodes(2, replicas=3)

    assert asked(next_of(*pods, roles=(grown,), before=(SEVERAL,))) == {"inference": (2, needed)}


def test_a_pod_that_ends_leaves_its_copy_incomplete() -> None:
    pods = [*copy(0), *copy(1), make.that_ends(copy(2)[0]), copy(2)[1]]

    assert asked(next_of(*pods, roles=(make.a_role_of_nodes(2, replicas=3),), before=(SEVERAL,))) == {
        "inference": (2, 2)
    }


@pytest.mark.parametrize(
    ("pods", "size"),
    [
        pytest.param([*copy(0), *copy(1)], 2, id="nothing is of the new size yet"),
        pytest.param([*copy(0), *copy(1, nodes=4)], 2, id="one is"),
        pytest.param([*copy(0, nodes=4), *copy(1, nodes=4)], 4, id="all are"),
    ],
)
def test_a_new_size_is_asked_for_when_every_copy_has_it(pods: list[Manifest], size: int) -> None:
    larger = make.a_role_of_nodes(4, replicas=2)

    assert asked(next_of(*pods, roles=(larger,), before=(SEVERAL,))) == {"inference": (size, 2)}


def test_from_one_node_to_several_a_role_asks_for_nothing_until_its_old_copies_are_gone() -> None:
    going = next_of(inside(0), inside(1), roles=(SEVERAL,), before=(TWO_COPIES,))
    gone = next_of(roles=(SEVERAL,), before=(TWO_COPIES,))

    assert asked(going) == {"inference": (2, 0)}
    assert asked(gone) == {"inference": (2, 2)}
