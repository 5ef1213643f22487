"""What room pods wait for, in words with numbers, as schedulers tell it on the pods."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.reconcile.facts import RoleFacts, facts_of
from fusioninfer.reconcile.room import Room, copies_that_could_start, fits, requests, room_of
from tests import make

GPUS = "0/5 nodes are unavailable: 5 Insufficient nvidia.com/gpu."
ABOUT_THE_GANG = "pod group is not ready, 10 Pending, 10 minAvailable; Pending: 2 Unschedulable, 8 Schedulable"


def role(*containers: Manifest, replicas: int = 2, **pod: Any) -> Manifest:
    """A role whose pods have `containers`, of which the first is the engine."""
    engine, *others = containers
    return make.a_role(replicas=replicas, template=make.a_template(make.a_container(**engine), *others, **pod))


def limits(**amounts: Any) -> Manifest:
    """Of a container; `gpu` stands for nvidia.com/gpu."""
    return {"resources": {"limits": {"nvidia.com/gpu" if key == "gpu" else key: it for key, it in amounts.items()}}}


def facts(*pods: Manifest, roles: tuple[Manifest, ...]) -> tuple[RoleFacts, ...]:
    raw = make.raw_service(*roles)
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
    children = tuple(make.applied(objects.workload) for objects in desired.roles)
    return facts_of(desired, make.a_snapshot(raw, children=children, pods=pods)).roles


def room(*pods: Manifest, roles: tuple[Manifest, ...]) -> Room:
    return room_of((role, pod) for role in facts(*pods, roles=roles) for pod in role.pods)


def unplaced(index: int = 0, message: str = GPUS, **fields: Any) -> Manifest:
    """A pod for which there is no room, as its scheduler says."""
    return make.without_node(make.a_pod(index, **fields), message=message)


def fitting(index: int = 0, **fields: Any) -> Manifest:
    return make.that_fits(make.a_pod(index, **fields))


GPU_ROLE = role(limits(gpu=4))


# --- which pods wait ---


@pytest.mark.parametrize(
    ("pod", "waits"),
    [
        pytest.param(unplaced(), True, id="no room"),
        pytest.param(fitting(), True, id="fits and waits for its gang"),
        pytest.param(make.without_node(make.a_pod(), "SchedulingGated"), True, id="gated"),
        pytest.param(make.a_pod(), False, id="no scheduler has looked at it"),
        pytest.param(make.on_node(unplaced()), False, id="placed a moment ago"),
        pytest.param(make.a_ready_pod(), False, id="runs"),
        pytest.param(make.that_ends(unplaced()), False, id="ends"),
    ],
)
def test_a_pod_waits_for_room_when_a_scheduler_has_looked_at_it_and_found_none(pod: Manifest, waits: bool) -> None:
    assert bool(room(pod, roles=(GPU_ROLE,)).waiting) is waits


@pytest.mark.parametrize(("pod", "does"), [(fitting(), True), (unplaced(), False), (make.a_pod(), False)])
def test_a_pod_fits_when_volcano_says_that_it_could_have_a_node(pod: Manifest, does: bool) -> None:
    assert fits(make.decoded_pod(pod)) is does


def test_pods_that_fit_are_counted() -> None:
    assert room(unplaced(0), fitting(1), fitting(2), roles=(role(limits(gpu=4), replicas=3),)).fitting == 2


# --- what they need, and what is short ---

PREFILL, DECODE = make.prefill_and_decode((2, 1), **limits(gpu=4))


@pytest.mark.parametrize(
    ("containers", "count", "needs", "short"),
    [
        pytest.param([limits(gpu=4)], 1, "1 pod x 4 nvidia.com/gpu", "4 nvidia.com/gpu", id="one pod"),
        pytest.param([limits(gpu=4)], 2, "2 pods x 4 nvidia.com/gpu", "8 nvidia.com/gpu", id="devices add up"),
        pytest.param([limits(gpu="4")], 2, "2 pods x 4 nvidia.com/gpu", "8 nvidia.com/gpu", id="written as a string"),
        pytest.param(
            [limits(gpu=4, cpu=8, memory="64Gi")], 2, "2 pods x 4 nvidia.com/gpu", "8 nvidia.com/gpu",
            id="devices stand for the rest",
        ),
        pytest.param(
            [limits(gpu=4), {"name": "sidecar", "image": "x", **limits(gpu=1)}], 2,
            "2 pods x 5 nvidia.com/gpu", "10 nvidia.com/gpu", id="containers of a pod add up",
        ),
        pytest.param(
            [{"resources": {"limits": {"nvidia.com/gpu": 4}, "requests": {"nvidia.com/gpu": 2}}}], 1,
            "1 pod x 2 nvidia.com/gpu", "2 nvidia.com/gpu", id="a request is what counts",
        ),
        pytest.param([{}], 2, "2 pods", "", id="nothing asked for"),
    ],
)  # fmt: skip
def test_what_pods_need_and_what_is_short_of_it_is_told_in_numbers(
    containers: list[Manifest], count: int, needs: str, short: str
) -> None:
    waits = room(*(unplaced(index) for index in range(count)), roles=(role(*containers),))

    assert waits.needs == needs
    assert waits.short == (f"{short} short for inference" if short else "")


@pytest.mark.parametrize(
    ("amounts", "message", "needs", "short"),
    [
        pytest.param(
            {"cpu": 8}, "0/5 nodes are available: 5 Insufficient cpu.", "2 pods x 8 cpu", "16 cpu", id="whole cores"
        ),
        pytest.param(
            {"cpu": "500m", "memory": "64Gi"}, "0/2 nodes are available: 2 Insufficient memory.",
            "2 pods x 500m cpu, 64Gi memory", "128Gi memory", id="with a unit",
        ),
        pytest.param(
            {"cpu": 8, "memory": "64Gi"}, "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.",
            "2 pods x 8 cpu, 64Gi memory", "16 cpu, 128Gi memory", id="all that is named",
        ),
        pytest.param(
            {"gpu": 1, "cpu": 8}, "0/5 nodes are available: 5 Insufficient cpu.", "2 pods x 1 nvidia.com/gpu",
            "16 cpu", id="the scheduler names something else than the device",
        ),
        pytest.param(
            {"gpu": 1, "cpu": 8}, "0/5 nodes are available: 3 Insufficient pods, 2 Insufficient example.com/nic.",
            "2 pods x 1 nvidia.com/gpu", "2 nvidia.com/gpu", id="what is named was not asked for: the device",
        ),
        pytest.param(
            {"cpu": 8}, "0/5 nodes are available: 5 node(s) had untolerated taint.", "2 pods x 8 cpu", "16 cpu",
            id="nothing named and no device: all of it",
        ),
        pytest.param(
            {"gpu": 4}, ABOUT_THE_GANG, "2 pods x 4 nvidia.com/gpu", "8 nvidia.com/gpu", id="words about the gang"
        ),
        pytest.param({"gpu": 4}, "", "2 pods x 4 nvidia.com/gpu", "8 nvidia.com/gpu", id="no words"),
    ],
)  # fmt: skip
def test_short_is_what_the_scheduler_names_and_the_pods_ask_for(
    amounts: Manifest, message: str, needs: str, short: str
) -> None:
    waits = room(unplaced(0, message), unplaced(1, message), roles=(role(limits(**amounts)),))

    assert waits.needs == needs
    assert waits.short == f"{short} short for inference"


def test_amounts_with_units_of_several_containers_can_be_added_up_by_who_reads_them() -> None:
    """2 pods x (1Gi + 64Gi) are 130Gi."""
    containers = [limits(memory="1Gi"), {"name": "sidecar", "image": "x", **limits(memory="64Gi")}]
    message = "0/2 nodes are available: 2 Insufficient memory."

    waits = room(unplaced(0, message), unplaced(1, message), roles=(role(*containers),))

    assert waits.needs == "2 pods x 65Gi memory"
    assert "130Gi memory short" in waits.short


@pytest.mark.parametrize(
    "pod",
    [fitting(), make.without_node(make.a_pod(), "SchedulingGated", "Scheduling is blocked due to non-empty gates")],
    ids=["fits", "gated"],
)
def test_what_fits_or_is_held_back_by_a_gate_is_no_shortage(pod: Manifest) -> None:
    waits = room(pod, roles=(GPU_ROLE,))

    assert (waits.needs, waits.short) == ("1 pod x 4 nvidia.com/gpu", "")


def test_only_what_does_not_fit_is_short() -> None:
    waits = room(unplaced(0), fitting(1), roles=(GPU_ROLE,))

    assert (waits.needs, waits.fitting) == ("2 pods x 4 nvidia.com/gpu", 1)
    assert waits.short == "4 nvidia.com/gpu short for inference"


def test_each_role_is_short_of_its_own() -> None:
    decode = {**DECODE, "template": make.a_template(make.a_container(**limits(gpu=1)))}
    pods = (
        unplaced(0, workload="qwen-prefill"),
        unplaced(1, workload="qwen-prefill"),
        unplaced(workload="qwen-decode"),
    )

    waits = room(*pods, roles=(PREFILL, decode))

    assert waits.needs == "2 pods x 4 nvidia.com/gpu and 1 pod x 1 nvidia.com/gpu"
    assert waits.short == "8 nvidia.com/gpu short for prefill; 1 nvidia.com/gpu short for decode"


def test_a_role_that_has_room_is_not_named() -> None:
    waits = room(unplaced(workload="qwen-prefill"), fitting(workload="qwen-decode"), roles=(PREFILL, DECODE))

    assert waits.needs == "2 pods x 4 nvidia.com/gpu"
    assert waits.short == "4 nvidia.com/gpu short for prefill"


def test_where_pods_may_only_go_to_some_nodes_these_are_told() -> None:
    chosen = role(limits(gpu=4), nodeSelector={"gpu": "a100", "zone": "b"})

    assert (
        room(unplaced(), roles=(chosen,)).short == "4 nvidia.com/gpu short for inference on nodes with gpu=a100, zone=b"
    )


def test_a_leader_and_its_workers_need_what_their_own_templates_say() -> None:
    workers = make.a_template({"name": "peer", "image": "mine:1", **limits(gpu=8)})
    leader = make.a_template(make.a_container(**limits(gpu=2), ports=[{"containerPort": 8000}]))
    several = make.a_role(engine="custom", template=leader, multinode={"nodeCount": 3, "workerTemplate": workers})
    mark = make.desired(several).roles[0].workload["metadata"]["annotations"][names.TEMPLATE]
    pods = [make.without_node(pod, message=GPUS) for pod in make.a_group(nodes=3, template=mark)]

    waits = room(*pods, roles=(several,))

    assert waits.needs == "1 pod x 2 nvidia.com/gpu and 2 pods x 8 nvidia.com/gpu"
    assert waits.short == "18 nvidia.com/gpu short for inference"


def test_requests_of_a_template_are_read_whatever_is_missing_in_it() -> None:
    containers = [{"name": "a"}, {"name": "b", "resources": None}, {"name": "c", "resources": {"requests": None}}]

    assert requests({"spec": {"containers": containers}}) == {}


# --- what the scheduler says ---


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        pytest.param((unplaced(),), GPUS.rstrip("."), id="of nodes, without its full stop"),
        pytest.param((unplaced(0, "one."), unplaced(1, "two."), unplaced(2, "two.")), "two", id="on most of the pods"),
        pytest.param((unplaced(0, ABOUT_THE_GANG), unplaced(1)), GPUS.rstrip("."), id="not of the gang"),
        pytest.param((unplaced(0, ABOUT_THE_GANG),), "", id="of the gang alone"),
        pytest.param((fitting(),), "", id="of a node that a pod could have"),
        pytest.param((unplaced(0, ""),), "", id="nothing"),
    ],
)
def test_the_schedulers_words_of_nodes_are_repeated(pods: tuple[Manifest, ...], said: str) -> None:
    assert room(*pods, roles=(role(limits(gpu=4), replicas=3),)).said == said


# --- what could start ---


@pytest.mark.parametrize(
    ("pods", "copies"),
    [
        pytest.param((fitting(0), unplaced(1)), 1, id="one fits"),
        pytest.param((fitting(0), fitting(1)), 2, id="both fit"),
        pytest.param((make.a_ready_pod(0), fitting(1)), 2, id="one runs"),
        pytest.param((make.a_pod(0), unplaced(1)), 0, id="no scheduler has looked, and no room"),
        pytest.param((), 0, id="none is there"),
    ],
)
def test_a_copy_could_start_when_all_of_its_pods_have_a_node_or_could(pods: tuple[Manifest, ...], copies: int) -> None:
    assert copies_that_could_start(facts(*pods, roles=(GPU_ROLE,))[0]) == copies


@pytest.mark.parametrize(
    ("leader", "worker", "copies"), [(True, True, 1), (True, False, 0), (False, True, 0), (True, None, 0)]
)
def test_a_copy_of_several_nodes_could_start_only_as_a_whole(leader: bool, worker: bool | None, copies: int) -> None:
    several = make.a_role_of_nodes(2)
    mark = make.desired(several).roles[0].workload["metadata"]["annotations"][names.TEMPLATE]
    made = zip(make.a_group(template=mark), (leader, worker), strict=True)
    pods = [make.that_fits(pod) if fit else make.without_node(pod) for pod, fit in made if fit is not None]

    assert copies_that_could_start(facts(*pods, roles=(several,))[0]) == copies
