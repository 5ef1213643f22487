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
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
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


# --- the router ---------------------------------------------------------------------------------------------------

ROUTER = make.a_router(replicas=2)
ENGINE = make.a_role(replicas=1)


def made(router: Manifest = ROUTER) -> Manifest:
    desired = make.desired(ENGINE, router)
    assert desired.router is not None
    return desired.router.workload


def router_facts(
    *pods: Manifest, router: Manifest = ROUTER, live: Manifest | None = None, exists: bool = True
) -> RoleFacts:
    """What is so of the router; `live` are fields of its Deployment."""
    raw = make.raw_service(ENGINE, router)
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)
    assert desired.router is not None
    children = ({**make.applied(desired.router.workload), **(live or {})},) if exists else ()
    found = facts_of(desired, make.a_snapshot(raw, children=children, pods=pods)).router
    assert found is not None
    return found


NOW = make.mark_of(made())


def old(number: int = 0, *, ready: bool = True) -> Manifest:
    return make.a_router_pod(number, template="old", ready=ready)


def new(number: int = 0, *, ready: bool = True) -> Manifest:
    return make.a_router_pod(number, template=NOW, ready=ready)


@pytest.mark.parametrize(
    ("pods", "ready", "updated", "complete", "rolling"),
    [
        pytest.param((), 0, 0, False, False, id="nothing yet"),
        pytest.param((new(0), new(1)), 2, 2, True, False, id="all there"),
        pytest.param((new(0), new(1, ready=False)), 1, 2, False, False, id="one not ready"),
        pytest.param((new(0),), 1, 1, False, False, id="one missing"),
        pytest.param((old(0), old(1)), 2, 0, False, True, id="a new template, no new pod"),
        pytest.param((old(0), old(1), new(0, ready=False)), 2, 1, False, True, id="a new pod beside the old ones"),
        pytest.param((old(0), new(0), new(1)), 3, 2, False, True, id="an old one that goes last"),
        pytest.param((new(0), new(1), make.that_ends(old(0))), 2, 2, True, False, id="an old one that ends"),
        pytest.param((new(0), new(1), new(2)), 3, 3, False, False, id="one surplus"),
        pytest.param((new(0), new(1), make.a_ready_pod()), 2, 2, True, False, id="engines are none of it"),
    ],
)
def test_the_routers_pods_are_counted_by_the_mark_of_their_template(
    pods: tuple[Manifest, ...], ready: int, updated: int, complete: bool, rolling: bool
) -> None:
    seen = router_facts(*pods)

    assert (seen.ready, seen.updated, seen.is_complete, seen.is_rolling) == (ready, updated, complete, rolling)
    assert (seen.desired, seen.total_pods) == (2, 2)


def test_no_pod_of_the_router_is_updated_before_the_deployments_controller_has_seen_it() -> None:
    seen = router_facts(new(0), new(1), live={"status": {"observedGeneration": 0}})

    assert (seen.ready, seen.updated, seen.is_complete, seen.is_rolling) == (2, 0, False, True)


def test_pods_without_a_deployment_are_nobodys() -> None:
    assert router_facts(new(0), exists=False).copies == ()


def test_others_say_how_many_pods_a_router_has_if_the_user_does_not() -> None:
    unsaid = {key: value for key, value in ROUTER.items() if key != "replicas"}
    live = make.applied(made(unsaid))

    assert router_facts(router=unsaid, exists=False).desired == 1
    assert router_facts(router=unsaid).desired == 1
    assert router_facts(router=unsaid, live={"spec": {**live["spec"], "replicas": 4}}).desired == 4


def test_a_pod_of_an_engine_role_of_the_routers_name_is_none_of_its_own() -> None:
    """Left over from a worker that had the name before."""
    assert router_facts(new(0), new(1), make.a_ready_pod(workload="qwen-entry")).ready == 2


def test_the_router_is_no_engine_role() -> None:
    raw = make.raw_service(ENGINE, ROUTER)
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)

    facts = facts_of(desired, make.a_snapshot(raw))

    assert [role.role.name for role in facts.roles] == ["inference"]
    assert [role.role.name for role in facts.entry_roles] == ["inference"]
    assert [role.role.name for role in facts.all_roles] == ["inference", "entry"]
    assert facts_of(make.desired(), make.a_snapshot()).router is None


def test_the_pickers_crash_is_the_routers_last_failure() -> None:
    end = {"exitCode": 1, "reason": "Error", "message": "no such pool\n", "finishedAt": "2026-11-24T11:59:00Z"}
    picker = {"name": "epp", "restartCount": 2, "state": {"running": {}}, "lastState": {"terminated": end}}

    seen = router_facts(new(0), make.a_router_pod(1, template=NOW, ready=False, initContainerStatuses=[picker]))

    assert seen.failure is not None
    assert (seen.failure.container, seen.failure.exitCode, seen.failure.count) == ("epp", 1, 2)
    assert seen.failure.message == "no such pool"
    assert seen.trouble is not None
    assert seen.trouble.is_failure
