"""What exists for a service of several roles: the gang, the entry, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest, Role
from fusioninfer.build.desired import Desired, desired_objects, members
from fusioninfer.build.gang import Member
from tests import make


def of_gang(*roles: Manifest, **gang: Any) -> Desired:
    return make.desired(*roles, schedulingStrategy={**make.GANG, "gang": gang})


def with_router(*roles: Manifest, **spec: Any) -> Desired:
    """What exists beside a router, which `parse` does not let through yet."""
    service = make.a_service(*roles, **spec)
    router = Role("entry", "router", template=make.a_template(), replicas=1)
    return desired_objects(replace(service, roles=(router, *service.roles)), make.ENGINES)


@pytest.mark.parametrize(
    ("copies", "nodes", "gang", "asked"),
    [
        pytest.param((2, 1), (4, 2), {}, {"prefill": 2, "decode": 1}, id="All"),
        pytest.param((None, 3), (1, 1), {}, {"prefill": 1, "decode": 3}, id="copies that others count start at 1"),
        pytest.param((0, 1), (4, 1), {}, {"prefill": 0, "decode": 1}, id="a role of no copies"),
        pytest.param((4, 2), (1, 1), {"mode": "MinReplicas"}, {"prefill": 1, "decode": 1}, id="MinReplicas"),
        pytest.param(
            (4, 0), (1, 1), {"mode": "MinReplicas", "minReplicas": {"prefill": 3}}, {"prefill": 3, "decode": 0},
            id="MinReplicas of so many, and of none where there is none",
        ),
    ],
)  # fmt: skip
def test_the_gang_asks_for_what_is_needed_of_each_engine_role(
    copies: tuple[int | None, int | None], nodes: tuple[int, int], gang: Manifest, asked: dict[str, int]
) -> None:
    group = of_gang(*make.prefill_and_decode(copies, nodes), **gang).gang

    assert group is not None
    parts = group["spec"]["subGroupPolicy"]
    assert {part["name"]: part["minSubGroups"] for part in parts} == asked
    assert [part["subGroupSize"] for part in parts] == list(nodes)
    assert group["spec"]["minMember"] == asked["prefill"] * nodes[0] + asked["decode"] * nodes[1]


def test_the_gang_stands_between_the_entry_and_the_workloads() -> None:
    assert [manifest["kind"] for manifest in of_gang().manifests] == ["Service", "PodGroup", "StatefulSet"]


@pytest.mark.parametrize("strategy", [{}, {"schedulerName": "other"}, {**make.GANG, "gang": {"mode": "None"}}])
def test_there_is_no_group_where_no_gang_was_asked_for(strategy: Manifest) -> None:
    desired = make.desired(schedulingStrategy=strategy)

    assert desired.gang is None
    assert [manifest["kind"] for manifest in desired.manifests] == ["Service", "StatefulSet"]


def test_where_no_gang_was_asked_for_nothing_is_needed_of_any_role() -> None:
    service = make.a_service(*make.prefill_and_decode((2, 1), (4, 1)))

    assert members(service, {"prefill": 2, "decode": 1}) == (Member("prefill", 4, 0), Member("decode", 1, 0))


def test_a_router_is_no_member_of_the_gang() -> None:
    desired = with_router(*make.prefill_and_decode(), schedulingStrategy=make.GANG)

    assert desired.gang is not None
    assert [part["name"] for part in desired.gang["spec"]["subGroupPolicy"]] == ["prefill", "decode"]
    assert desired.gang["spec"]["minMember"] == 2


def test_the_entry_leads_to_decoders_where_prefillers_answer_too() -> None:
    desired = make.desired(*make.prefill_and_decode(nodes=(4, 2)))
    prefill, decode = (objects.templates[0]["metadata"]["labels"] for objects in desired.roles)

    selector = desired.entry["spec"]["selector"]
    assert selector == {
        names.SERVICE_LABEL: "qwen",
        names.SERVING_LABEL: "true",
        names.COMPONENT_TYPE_LABEL: "decoder",
    }
    assert selector.items() <= decode.items()
    assert not selector.items() <= prefill.items()


def test_the_entry_of_a_worker_is_the_same_with_and_without_a_gang() -> None:
    assert of_gang().entry == make.desired().entry


def test_the_entry_leads_to_the_port_of_the_decoder_whatever_the_prefiller_calls_its_own() -> None:
    prefill, decode = make.prefill_and_decode()
    prefill["template"]["spec"]["containers"][0]["ports"] = [{"name": "prompts", "containerPort": 8000}]
    decode["template"]["spec"]["containers"][0]["ports"] = [{"name": "tokens", "containerPort": 8000}]

    assert make.desired(prefill, decode).entry["spec"]["ports"][0]["targetPort"] == "tokens"


def test_a_prefiller_that_no_router_sends_anything_is_told_of() -> None:
    roles = make.prefill_and_decode()
    told = {objects.role.name: objects.warnings for objects in make.desired(*roles).roles}

    assert told == {"prefill": ("no router sends it anything: the decoders answer alone",), "decode": ()}
    assert not any(objects.warnings for objects in with_router(*roles).roles)
