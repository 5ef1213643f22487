"""Volcano's PodGroup, and which gang schedulers there are."""

from __future__ import annotations

import pytest

from fusioninfer.api import names, types
from fusioninfer.api.service import Manifest
from fusioninfer.build.gang import Member
from fusioninfer.build.gang.schedulers import SCHEDULERS
from fusioninfer.build.gang.volcano import VOLCANO
from tests import make


def test_the_api_knows_the_gang_schedulers_that_there_are() -> None:
    assert set(SCHEDULERS) == types.GANG_SCHEDULERS


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_gang_scheduler_is_known_by_the_name_that_pods_give_it(name: str) -> None:
    assert SCHEDULERS[name].name == name


def group(*members: Member, **strategy: object) -> Manifest:
    return VOLCANO.group(make.a_service(schedulingStrategy={**make.GANG, **strategy}), members)


def test_the_group_is_a_child_like_any_other_and_named_like_the_service() -> None:
    made = group(Member("inference", 1, 1))

    assert (made["apiVersion"], made["kind"]) == ("scheduling.volcano.sh/v1beta1", "PodGroup")
    assert made["metadata"] == make.desired().entry["metadata"]


@pytest.mark.parametrize(
    ("members", "pods"),
    [
        pytest.param((Member("a", 1, 3),), 3, id="copies of one node"),
        pytest.param((Member("a", 4, 2),), 8, id="copies of several nodes"),
        pytest.param((Member("a", 4, 2), Member("b", 2, 1)), 10, id="two roles"),
        pytest.param((Member("a", 4, 0), Member("b", 2, 1)), 2, id="a role of which nothing is needed"),
        pytest.param((Member("a", 4, 0),), 1, id="nothing needed: 1, since 0 counts as completed"),
        pytest.param((), 1, id="no member at all"),
    ],
)
def test_as_many_pods_must_fit_as_the_needed_copies_have_and_never_less_than_one(
    members: tuple[Member, ...], pods: int
) -> None:
    assert group(*members)["spec"]["minMember"] == pods


@pytest.mark.parametrize(
    ("nodes", "label"),
    [(1, "apps.kubernetes.io/pod-index"), (2, "leaderworkerset.sigs.k8s.io/group-index")],
    ids=["one node: StatefulSet's label", "several: LeaderWorkerSet's label"],
)
def test_each_copy_is_a_sub_group_that_has_nodes_for_all_of_its_pods_or_for_none(nodes: int, label: str) -> None:
    assert group(Member("inference", nodes, 3))["spec"]["subGroupPolicy"] == [
        {
            "name": "inference",
            "labelSelector": {"matchLabels": {names.ROLE_LABEL: "inference"}},
            "matchLabelKeys": [label],
            "subGroupSize": nodes,
            "minSubGroups": 3,
        }
    ]


@pytest.mark.parametrize(
    ("wishes", "spec"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param(
            {"queue": "research", "priorityClassName": "high"},
            {"queue": "research", "priorityClassName": "high"},
            id="queue and priority",
        ),
        pytest.param(
            {"networkTopology": {"mode": "hard", "highestTierAllowed": 2}},
            {"networkTopology": {"mode": "hard", "highestTierAllowed": 2}},
            id="nearness",
        ),
        pytest.param(
            {"networkTopology": {"mode": "soft"}}, {"networkTopology": {"mode": "soft"}}, id="nearness of any tier"
        ),
        pytest.param({"networkTopology": {}}, {"networkTopology": {}}, id="nearness as Volcano has it"),
    ],
)
def test_wishes_for_the_gang_stand_on_the_group_and_nothing_else_does(wishes: Manifest, spec: Manifest) -> None:
    made = group(Member("inference", 1, 1), **wishes)["spec"]

    assert {key: value for key, value in made.items() if key not in ("minMember", "subGroupPolicy")} == spec


def test_room_is_not_asked_for_before_nodes_are_looked_at() -> None:
    """With minResources Volcano does not say how much of the group would fit."""
    assert "minResources" not in group(Member("inference", 1, 1))["spec"]


def test_a_gang_that_is_not_asked_for_any_more_has_no_wishes() -> None:
    made = VOLCANO.group(make.a_service(), (Member("inference", 2, 0),))

    assert made["spec"].keys() == {"minMember", "subGroupPolicy"}
