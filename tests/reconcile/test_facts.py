"""Copies of several nodes are counted from their pods, whatever is missing."""

from __future__ import annotations

import pytest

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.reconcile.facts import RoleFacts, facts_of
from tests import make

ROLE = make.a_role_of_nodes(3, replicas=2)
MARK = make.desired(ROLE).roles[0].workload["metadata"]["annotations"][names.TEMPLATE]


def facts(*pods: Manifest, observed: bool = True, role: Manifest = ROLE) -> RoleFacts:
    raw = make.raw_service(role)
    desired = desired_objects(parse(raw), make.ENGINES)
    live = make.applied(desired.roles[0].workload)
    if not observed:
        live["metadata"]["generation"] = 2
    return facts_of(desired, make.a_snapshot(raw, children=(live,), pods=pods)).roles[0]


def group(
    index: int, *, template: str = MARK, missing: tuple[int, ...] = (), unready: tuple[int, ...] = ()
) -> tuple[Manifest, ...]:
    return make.a_group(index, nodes=3, template=template, missing=missing, unready=unready)


@pytest.mark.parametrize(
    ("pods", "ready", "updated", "ready_pods", "complete"),
    [
        pytest.param((), 0, 0, 0, False, id="nothing yet"),
        pytest.param((*group(0), *group(1)), 2, 2, 6, True, id="all there"),
        pytest.param((*group(1), *group(0)), 2, 2, 6, True, id="in any order"),
        pytest.param((*group(0), *group(1, unready=(2,))), 1, 2, 5, False, id="one worker not ready"),
        pytest.param((*group(0), *group(1, unready=(0,))), 1, 2, 5, False, id="one leader not ready"),
        pytest.param((*group(0), *group(1, missing=(1,))), 1, 2, 5, False, id="one worker missing"),
        pytest.param((*group(0), *group(1, missing=(0,))), 1, 2, 5, False, id="one leader missing"),
        pytest.param((*group(0), *group(1), *group(2)), 3, 3, 9, False, id="one copy surplus"),
        pytest.param((*group(0), *group(1, template="old")), 2, 1, 6, False, id="one copy of the old template"),
    ],
)  # fmt: skip
def test_a_copy_counts_when_all_of_its_nodes_do(
    pods: tuple[Manifest, ...], ready: int, updated: int, ready_pods: int, complete: bool
) -> None:
    seen = facts(*pods)

    assert (seen.ready, seen.updated, seen.ready_pods, seen.is_complete) == (ready, updated, ready_pods, complete)
    assert seen.total_pods == 6


def test_nothing_is_updated_before_the_controller_has_seen_the_spec() -> None:
    seen = facts(*group(0), *group(1), observed=False)

    assert (seen.ready, seen.updated, seen.is_complete, seen.is_rolling) == (2, 0, False, True)


def test_a_copy_is_as_large_as_it_was_made_and_not_as_is_wanted_now() -> None:
    seen = facts(*group(0), *group(1), role=make.a_role_of_nodes(4, replicas=2))

    assert (seen.ready, seen.updated, seen.total_pods) == (2, 0, 8)


def test_a_roll_out_below_the_partition_is_over() -> None:
    role = {**ROLE, "rolloutStrategy": {"rollingUpdate": {"partition": 1}}}
    seen = facts(*group(0, template="old"), *group(1), role=role)

    assert (seen.is_rolling, seen.is_complete) == (False, True)


def crashed(pod: Manifest, *, ends: bool) -> Manifest:
    end = {"exitCode": 137, "reason": "Error", "message": "NCCL error\n", "finishedAt": "2026-11-24T11:59:00Z"}
    containers = [{"name": "engine", "restartCount": 1, "state": {"running": {}}, "lastState": {"terminated": end}}]
    metadata = {**pod["metadata"], **({"deletionTimestamp": "2026-11-24T12:01:00Z"} if ends else {})}
    return {**pod, "metadata": metadata, "status": {**pod["status"], "containerStatuses": containers}}


@pytest.mark.parametrize("ends", [False, True])
def test_the_last_words_of_a_pod_are_heard_also_while_it_ends(ends: bool) -> None:
    leader, worker, other = group(1)

    seen = facts(*group(0), leader, crashed(worker, ends=ends), other)

    assert seen.failure is not None
    assert (seen.failure.pod, seen.failure.exitCode) == ("qwen-inference-1-1", 137)
    assert seen.failure.message == "NCCL error"
    assert (seen.recreated is not None) is ends


def test_a_container_that_ends_because_its_pod_does_has_not_crashed() -> None:
    leader, worker, other = group(1)
    told = {"terminated": {"exitCode": 143, "finishedAt": "2026-11-24T12:00:30Z"}}
    worker = crashed(worker, ends=True)
    worker["status"]["containerStatuses"] = [{"name": "engine", "restartCount": 0, "state": told}]

    seen = facts(*group(0), leader, worker, other)

    assert (seen.failure, seen.recreated) == (None, None)
