"""How a workload gets to what is desired: templates that are kept, replicas that are others', and surges."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, RouterObjects
from fusioninfer.reconcile.rollout import Size, Staged, next_size, staged, surplus
from fusioninfer.reconcile.snapshot import Pod, StatefulSet
from tests import make

SURGE = {"rollingUpdate": {"maxSurge": 1}}


def stage(desired: Desired, live: Manifest, *pods: Manifest) -> Manifest:
    snapshot = make.a_snapshot(children=(live,), pods=pods)
    workload = snapshot.workload("qwen-inference", live["kind"])
    objects = desired.roles[0]
    return staged(objects.workload, objects.role, workload, snapshot.pods_of(workload)).manifest


def pending(desired: Desired, live: Manifest) -> bool:
    snapshot = make.a_snapshot(children=(live,))
    objects = desired.roles[0]
    return staged(objects.workload, objects.role, snapshot.workload("qwen-inference", live["kind"]), ()).update_pending


def built_by_an_earlier_version(desired: Desired) -> Manifest:
    """The live workload of `desired`, made when we did not yet set a startup probe."""
    workload = desired.roles[0].workload
    container = workload["spec"]["template"]["spec"]["containers"][0]
    without = {key: value for key, value in container.items() if key != "startupProbe"}
    template = {**workload["spec"]["template"]}
    template["spec"] = {**template["spec"], "containers": [without]}
    annotations = {**workload["metadata"]["annotations"], names.TEMPLATE: "of-the-earlier-version"}
    earlier = {
        **workload,
        "metadata": {**workload["metadata"], "annotations": annotations},
        "spec": {**workload["spec"], "template": template},
    }
    return make.applied(earlier)


def test_a_template_that_only_we_would_build_differently_is_kept() -> None:
    desired = make.desired()
    live = built_by_an_earlier_version(desired)

    manifest = stage(desired, live)

    assert manifest["spec"]["template"] == live["spec"]["template"]
    assert manifest["metadata"]["annotations"][names.TEMPLATE] == "of-the-earlier-version"
    assert pending(desired, live)


SEVERAL = make.a_role_of_nodes(2)


def test_both_templates_of_several_nodes_are_kept() -> None:
    desired = make.desired(SEVERAL)
    workload = desired.roles[0].workload
    templates = {**workload["spec"]["leaderWorkerTemplate"]}
    del templates["leaderTemplate"]["spec"]["containers"][0]["startupProbe"]
    annotations = {**workload["metadata"]["annotations"], names.TEMPLATE: "of-the-earlier-version"}
    live = make.applied({**workload, "metadata": {**workload["metadata"], "annotations": annotations}})

    manifest = stage(make.desired(SEVERAL), live)

    assert manifest["spec"]["leaderWorkerTemplate"] == live["spec"]["leaderWorkerTemplate"]
    assert "startupProbe" not in manifest["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]
    assert pending(make.desired(SEVERAL), live)


def test_a_surge_of_several_nodes_is_left_to_leader_worker_set() -> None:
    role = {**SEVERAL, "replicas": 3, "rolloutStrategy": SURGE}
    changed = {
        **role,
        "template": make.a_template(make.a_container(image="vllm/vllm-openai:v0.33.0", args=["-tp", "2"])),
    }
    live = make.applied(make.desired(role).roles[0].workload)

    spec = stage(make.desired(changed), live)["spec"]

    assert spec["replicas"] == 3
    rolling = {"maxUnavailable": 0, "maxSurge": 1, "partition": 0}
    assert spec["rolloutStrategy"]["rollingUpdateConfiguration"] == rolling


def test_a_kept_template_does_not_keep_replicas_from_changing() -> None:
    live = built_by_an_earlier_version(make.desired())
    more = make.desired(make.a_role(replicas=3))

    manifest = stage(more, live)

    assert manifest["spec"]["replicas"] == 3
    assert "startupProbe" not in manifest["spec"]["template"]["spec"]["containers"][0]


def test_the_users_next_change_brings_the_template_up_to_date() -> None:
    live = built_by_an_earlier_version(make.desired())
    changed = make.desired(make.a_role(template=make.a_template(make.a_container(image="vllm/vllm-openai:v0.33.0"))))

    manifest = stage(changed, live)

    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith("v0.33.0")
    assert "startupProbe" in container
    assert not pending(changed, live)


def test_a_field_that_somebody_else_took_ends_the_keeping() -> None:
    desired = make.desired()
    live = built_by_an_earlier_version(desired)
    engine = 'k:{"name":"engine"}'
    held = live["metadata"]["managedFields"][0]["fieldsV1"]
    del held["f:spec"]["f:template"]["f:spec"]["f:containers"][engine]["f:image"]
    theirs: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {"f:containers": {engine: {"f:image": {}}}}}}}
    live["metadata"]["managedFields"].append({"manager": "kubectl-set", "operation": "Update", "fieldsV1": theirs})

    assert not pending(desired, live)
    assert stage(desired, live)["spec"]["template"] == desired.roles[0].workload["spec"]["template"]


# --- replicas -----------------------------------------------------------------------------------------------------


def role_without_replicas() -> Manifest:
    return {key: value for key, value in make.a_role().items() if key != "replicas"}


def test_absent_replicas_are_not_sent() -> None:
    desired = make.desired(role_without_replicas())
    live = make.applied(desired.roles[0].workload)
    live["spec"]["replicas"] = 4

    assert "replicas" not in stage(desired, live)["spec"]


def test_replicas_that_we_alone_hold_are_sent_on_until_somebody_takes_them() -> None:
    desired = make.desired(role_without_replicas())
    live = make.applied(make.desired(make.a_role(replicas=3)).roles[0].workload)

    assert stage(desired, live)["spec"]["replicas"] == 3

    live["metadata"]["managedFields"].append(
        {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    )
    assert "replicas" not in stage(desired, live)["spec"]


# --- the surge ----------------------------------------------------------------------------------------------------


def workload(
    *, replicas: int, partition: int = 0, lent: int = 0, observed: bool = True, revision: str = "rev-2"
) -> StatefulSet:
    annotations = {names.SURGE: str(lent)} if lent else {}
    value: dict[str, Any] = {
        "metadata": {
            "name": "qwen-inference",
            "uid": "uid-of-qwen-inference",
            "generation": 2,
            "annotations": annotations,
        },
        "spec": {"replicas": replicas, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
        "status": {"observedGeneration": 2 if observed else 1, "updateRevision": revision},
    }
    return make.decoded_stateful_set(value)


def pods(*states: str) -> tuple[Pod, ...]:
    """Pods 0, 1, …: `old` or `new`, with `!` if not ready, `-` if absent."""
    made = []
    for index, state in enumerate(states):
        revision = "rev-1" if state.startswith("old") else "rev-2"
        if state != "-":
            make_pod = make.a_pod if state.endswith("!") else make.a_ready_pod
            made.append(make.decoded_pod(make_pod(index, revision=revision)))
    return tuple(made)


@pytest.mark.parametrize(
    ("changes", "live", "seen", "next_"),
    [
        pytest.param(False, workload(replicas=2), pods("new", "new"), Size(2, 0), id="at rest nothing is lent"),
        pytest.param(True, workload(replicas=2), pods("old", "old"), Size(3, 2, 1), id="a change lends a copy first"),
        pytest.param(
            False, workload(replicas=3, partition=2, lent=1), pods("old", "old", "new!"), Size(3, 2, 1),
            id="the lent copy is not ready: the old ones stay",
        ),
        pytest.param(
            False, workload(replicas=3, partition=2, lent=1), pods("old", "old", "new"), Size(3, 0, 1),
            id="the lent copy is ready: the old ones go",
        ),
        pytest.param(
            False, workload(replicas=3, partition=0, lent=1), pods("old", "new!", "new"), Size(3, 0, 1),
            id="one is being replaced",
        ),
        pytest.param(
            False, workload(replicas=3, partition=0, lent=1), pods("new!", "new", "new"), Size(3, 0, 1),
            id="the last one is not ready yet: the lent copy stays",
        ),
        pytest.param(
            False, workload(replicas=3, partition=0, lent=1), pods("new", "new", "new"), Size(2, 0),
            id="all are replaced: the lent copy ends",
        ),
        pytest.param(
            False, workload(replicas=3, partition=2, lent=1, observed=False), pods("old", "old"), Size(3, 2, 1),
            id="the controller has not seen the step yet: wait",
        ),
        pytest.param(
            False, workload(replicas=3, partition=0, lent=1, observed=False), pods("old", "old", "new"), Size(3, 0, 1),
            id="the controller has not seen the second step yet: wait",
        ),
        pytest.param(
            False, workload(replicas=3, partition=2, lent=1), pods("new", "new"), Size(2, 0),
            id="the change was taken back: nothing to replace, nothing lent",
        ),
        pytest.param(
            False, workload(replicas=3), pods("old", "old!", "old"), Size(2, 0), id="a scale down is no surge",
        ),
    ],
)  # fmt: skip
def test_a_surge_goes_step_by_step(changes: bool, live: StatefulSet, seen: tuple[Pod, ...], next_: Size) -> None:
    role = make.a_service(make.a_role(replicas=2, rolloutStrategy=SURGE)).roles[0]

    assert next_size(role, live, seen, template_changes=changes) == next_


def test_a_surge_begins_with_the_new_template_and_ends_with_the_old_size() -> None:
    old = make.desired(make.a_role(rolloutStrategy=SURGE))
    template = make.a_template(make.a_container(image="vllm/vllm-openai:v0.33.0"))
    new = make.desired(make.a_role(rolloutStrategy=SURGE, template=template))
    live = make.applied(old.roles[0].workload)

    first = stage(new, live, make.a_ready_pod(0))

    assert first["spec"]["replicas"] == 2
    assert first["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 1
    assert first["metadata"]["annotations"][names.SURGE] == "1"
    after = make.applied(first, generation=2, updateRevision="rev-2")
    last = stage(new, after, make.a_ready_pod(0, revision="rev-2"), make.a_ready_pod(1, revision="rev-2"))
    assert last["spec"]["replicas"] == 1
    assert names.SURGE not in last["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("max_surge", "copies", "lent"), [(0, 5, 0), (2, 5, 2), ("25%", 5, 2), ("25%", 4, 1), ("0%", 4, 0)]
)
def test_a_surge_in_percent_is_rounded_up(max_surge: int | str, copies: int, lent: int) -> None:
    assert surplus(max_surge, copies) == lent


# --- the router ---------------------------------------------------------------------------------------------------

ROUTER = make.a_router()


def router_of(*roles: Manifest) -> RouterObjects:
    router = make.desired(*(roles or (make.a_role(), ROUTER))).router
    assert router is not None
    return router


def stage_router(wanted: RouterObjects, live: Manifest) -> Staged:
    deployment = make.a_snapshot(children=(live,)).workload("qwen-entry", "Deployment")
    assert deployment is not None
    return staged(wanted.workload, wanted.role, deployment, ())


def of_an_earlier_version(router: RouterObjects) -> Manifest:
    """The Deployment as it stands, made when our Envoy had another image."""
    workload = router.workload
    (envoy,) = workload["spec"]["template"]["spec"]["containers"]
    spec = {**workload["spec"]["template"]["spec"], "containers": [{**envoy, "image": "envoy:earlier"}]}
    mark = {names.TEMPLATE: "of-the-earlier-version"}
    return make.applied(
        {
            **workload,
            "metadata": {**workload["metadata"], "annotations": {**workload["metadata"]["annotations"], **mark}},
            "spec": {
                **workload["spec"],
                "template": {
                    "metadata": {**workload["spec"]["template"]["metadata"], "annotations": mark},
                    "spec": spec,
                },
            },
        }
    )


def test_the_routers_template_is_kept_if_only_we_would_build_it_differently() -> None:
    live = of_an_earlier_version(router_of())

    step = stage_router(router_of(), live)

    assert step.update_pending
    assert step.manifest["spec"]["template"] == live["spec"]["template"]
    assert make.mark_of(step.manifest) == "of-the-earlier-version"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"replicas": 3}, id="replicas"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="labels of the Deployment"),
    ],
)
def test_the_routers_template_is_kept_through_changes_that_shape_no_pod(change: Manifest) -> None:
    wanted = router_of(make.a_role(), {**ROUTER, **change})

    step = stage_router(wanted, of_an_earlier_version(router_of()))

    assert step.update_pending
    assert step.manifest["spec"]["replicas"] == wanted.workload["spec"]["replicas"]
    assert step.manifest["metadata"]["labels"] == wanted.workload["metadata"]["labels"]


def test_a_change_of_the_router_brings_its_template_up_to_date() -> None:
    wanted = router_of(make.a_role(), make.a_router(strategy="queue-size"))

    step = stage_router(wanted, of_an_earlier_version(router_of()))

    assert step == Staged(wanted.workload)


def test_more_copies_of_the_engines_are_no_change_of_the_router() -> None:
    wanted = router_of(make.a_role(replicas=5), ROUTER)

    assert stage_router(wanted, of_an_earlier_version(router_of())).update_pending


def engine(**container: Any) -> Manifest:
    return make.a_role(template=make.a_template(make.a_container(**container)))


@pytest.mark.parametrize(
    ("router", "before", "after"),
    [
        pytest.param(
            make.a_router(pickerRelease="llm-d-router-0.10"),
            engine(), engine(args=["--model", "qwen", "--port", "9000"]),
            id="the engines' port",
        ),
        pytest.param(
            make.a_router(),
            engine(), engine(image="lmsysorg/sglang:v0.5.4", args=["--model-path", "qwen", "--port", "8000"]),
            id="another engine, with other metrics",
        ),
    ],
)  # fmt: skip
def test_what_the_picker_is_told_of_the_engines_follows_them(
    router: Manifest, before: Manifest, after: Manifest
) -> None:
    """The user has changed it, if only in another role; else the picker would go on with what is so no more."""
    was, is_ = router_of(before, router), router_of(after, router)
    assert make.mark_of(was.workload) != make.mark_of(is_.workload)

    step = stage_router(is_, make.applied(was.workload))

    assert not step.update_pending
    assert step.manifest["spec"]["template"] == is_.workload["spec"]["template"]


def test_the_routers_replicas_are_others_if_the_user_does_not_say() -> None:
    unsaid = {key: value for key, value in ROUTER.items() if key != "replicas"}
    live = make.applied(router_of(make.a_role(), unsaid).workload)
    live["spec"]["replicas"] = 5

    step = stage_router(router_of(make.a_role(), unsaid), live)

    assert "replicas" not in step.manifest["spec"]
    assert not step.update_pending


def test_the_routers_replicas_are_let_go_of_without_a_fall_to_one() -> None:
    live = make.applied(router_of(make.a_role(), make.a_router(replicas=4)).workload)
    unsaid = {key: value for key, value in ROUTER.items() if key != "replicas"}

    assert stage_router(router_of(make.a_role(), unsaid), live).manifest["spec"]["replicas"] == 4


def test_no_surge_is_lent_to_a_deployment_which_has_its_own() -> None:
    wanted = router_of(make.a_role(), make.a_router(replicas=3, strategy="queue-size"))
    live = make.applied(router_of(make.a_role(), make.a_router(replicas=3)).workload)

    step = stage_router(wanted, live)

    assert step.manifest == wanted.workload
    assert names.SURGE not in step.manifest["metadata"]["annotations"]
