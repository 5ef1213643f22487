"""What would become of a service: objects, restarts, interruptions."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.cli.differences import Difference, difference
from fusioninfer.reconcile.gateway_api import POOLS
from fusioninfer.reconcile.snapshot import LEADER_WORKER_SETS
from tests import make
from tests.cli.seen import NOON


def between(
    before: Manifest | None,
    after: Manifest,
    *,
    pods: tuple[Manifest, ...] = (),
    unserved: tuple[str, ...] = (),
    **seen: Any,
) -> Difference:
    """From a service whose children stand as applied, to what a file says of it."""
    live = _children(before) if before else ()
    snapshot = make.a_snapshot(after, children=live, pods=pods, unserved=unserved)
    desired = desired_objects(parse(after), make.ENGINES, make.STRATEGIES)
    objects = {(one["kind"], one["metadata"]["name"]): one for one in live}
    return difference(desired, snapshot, objects, seen.get("unread", {}), NOON)


def _children(raw: Manifest) -> tuple[Manifest, ...]:
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
    return tuple(map(make.applied, desired.manifests))


def steps(found: Difference) -> list[str]:
    return [f"{step.verb} {step.kind} {step.name}" for step in found.steps]


def with_image(image: str, **role: Any) -> Manifest:
    return make.raw_service(make.a_role(template=make.a_template(make.a_container(image=image)), **role))


NEW = "vllm/vllm-openai:v0.33.0"


def test_of_a_new_service_all_is_created() -> None:
    found = between(None, make.raw_service())

    assert steps(found) == ["create Service qwen", "create StatefulSet qwen-inference"]
    assert found.restarts == ()


def test_what_is_as_the_file_says_is_no_difference() -> None:
    found = between(make.raw_service(), make.raw_service(), pods=(make.a_ready_pod(),))

    assert found.is_none
    assert (found.restarts, found.notes) == ((), ())


def test_another_number_of_copies_restarts_nothing() -> None:
    found = between(make.raw_service(), make.raw_service(make.a_role(replicas=3)), pods=(make.a_ready_pod(),))

    assert steps(found) == ["change StatefulSet qwen-inference"]
    assert [(change.path, change.before, change.after) for change in found.steps[0].fields] == [("spec.replicas", 1, 3)]
    assert found.restarts == ()


def test_another_image_restarts_the_role_and_says_so() -> None:
    found = between(make.raw_service(), with_image(NEW), pods=(make.a_ready_pod(),))

    (restart,) = found.restarts
    assert restart.why == "template.spec.containers[engine].image changes"
    assert restart.interrupts.startswith("with one copy and no surge nothing is answered")
    assert any(change.after == NEW for change in found.steps[0].fields)


@pytest.mark.parametrize(
    "role",
    [
        pytest.param({"replicas": 2}, id="two copies"),
        pytest.param({"rolloutStrategy": {"rollingUpdate": {"maxSurge": 1}}}, id="a surge"),
    ],
)
def test_a_restart_interrupts_nothing_where_somebody_answers_meanwhile(role: dict[str, Any]) -> None:
    before = make.raw_service(make.a_role(**role))

    (restart,) = between(before, with_image(NEW, **role), pods=(make.a_ready_pod(),)).restarts

    assert restart.interrupts == ""


def test_from_one_node_to_several_the_earlier_workload_goes_first() -> None:
    found = between(make.raw_service(), make.raw_service(make.a_role_of_nodes(2)), pods=(make.a_ready_pod(),))

    assert "delete StatefulSet qwen-inference" in steps(found)
    assert steps(found)[-1] == "create LeaderWorkerSet qwen-inference"
    (restart,) = found.restarts
    assert restart.why.startswith("from now on a copy has 2 nodes: the earlier workload ends first")
    assert restart.interrupts.startswith("nothing is answered from the end of the earlier workload")


def test_a_router_that_is_not_asked_for_any_more_is_deleted() -> None:
    found = between(make.raw_service(make.a_role(), make.a_router()), make.raw_service())

    assert "delete Deployment qwen-entry" in steps(found)
    assert "change Service qwen" in steps(found)


def test_what_the_cluster_lacks_is_noted() -> None:
    found = between(None, make.raw_service(make.a_role_of_nodes(2)), unserved=(LEADER_WORKER_SETS.kind,))

    assert steps(found) == ["create Service qwen"]
    assert any(note.startswith("NotInstalled: ") and "LeaderWorkerSet" in note for note in found.notes)


def test_a_kind_that_may_not_be_read_is_left_out_and_said_so() -> None:
    raw = make.raw_service(make.a_role(), make.a_router())

    found = between(None, raw, unread={POOLS.kind: "no right"})

    assert "create InferencePool qwen-entry" not in steps(found)
    assert "InferencePool: no right; what would become of it is not known" in found.notes


def test_a_paused_service_says_that_nothing_is_written() -> None:
    found = between(None, make.raw_service(paused=True))

    assert "spec.paused is true: nothing of it is written before it is false" in found.notes


def test_warnings_are_told() -> None:
    custom = make.a_template(make.a_container(image="mine", args=["serve"]))

    assert any(
        "engine custom is assumed" in note
        for note in between(None, make.raw_service(make.a_role(template=custom))).notes
    )


def test_a_router_says_what_its_restart_is_for() -> None:
    before = make.raw_service(make.a_role(), make.a_router())
    after = make.raw_service(make.a_role(), make.a_router(strategy="queue-size"))
    mark = make.mark_of(make.desired(make.a_role(), make.a_router()).router.workload)  # type: ignore[union-attr] # it has one

    found = between(before, after, pods=(make.a_ready_pod(), make.a_router_pod(template=mark)))

    assert [restart.role for restart in found.restarts] == ["entry"]
    assert found.restarts[0].interrupts == ""
