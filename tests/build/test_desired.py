"""What exists for a service of several roles: the gang, the entry, and what is told of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.desired import Desired, RouterObjects, members
from fusioninfer.build.gang import Member
from tests import make


def of_gang(*roles: Manifest, **gang: Any) -> Desired:
    return make.desired(*roles, schedulingStrategy={**make.GANG, "gang": gang})


def with_router(*roles: Manifest, **spec: Any) -> Desired:
    return make.desired(*roles, make.a_router(), **spec)


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

    assert make.desired(prefill, decode).entry["spec"]["ports"][0]["targetPort"] == 8000
    custom = [{**role, "engine": "custom"} for role in (prefill, decode)]
    assert make.desired(*custom).entry["spec"]["ports"][0]["targetPort"] == "tokens"


def test_a_prefiller_that_no_router_sends_anything_is_told_of() -> None:
    roles = make.prefill_and_decode()
    told = {objects.role.name: objects.warnings for objects in make.desired(*roles).roles}

    assert told == {"prefill": ("nothing sends it any prompts yet: the decoders answer alone",), "decode": ()}


# --- the router ---

NEW = "llm-d-router-0.10"


def router_of(*engines: Manifest, **fields: Any) -> RouterObjects:
    """The router of a service of one worker or of `engines`."""
    router = make.desired(*(engines or (make.a_role(),)), make.a_router(**fields)).router
    assert router is not None
    return router


def engine(*words: str, **fields: Any) -> Manifest:
    """A worker whose engine is told so."""
    return make.a_role(template=make.a_template(make.a_container(args=["--model", "qwen", *words], **fields)))


def plugins(router: RouterObjects) -> list[str]:
    """The types of plug-ins in the picker's config."""
    (picker,) = router.workload["spec"]["template"]["spec"]["initContainers"]
    (config,) = (word for word in picker["args"] if word.startswith("--config-text="))
    return [plugin["type"] for plugin in json.loads(config.removeprefix("--config-text="))["plugins"]]


def test_the_routers_objects_come_last_and_its_pods_at_the_end() -> None:
    kinds = [manifest["kind"] for manifest in with_router(make.a_role()).manifests]

    assert kinds == [
        "Service", "StatefulSet", "ServiceAccount", "RoleBinding", "Service", "InferencePool", "Deployment",
    ]  # fmt: skip


def test_where_the_router_stands_among_the_roles_makes_no_difference() -> None:
    assert make.desired(make.a_router(), make.a_role()).manifests == with_router(make.a_role()).manifests


def test_a_service_without_a_router_has_none_of_its_objects() -> None:
    desired = make.desired()

    assert desired.router is None
    assert desired.entry == desired.direct_entry


@pytest.mark.parametrize("engines", [(make.a_role(),), make.prefill_and_decode()], ids=["worker", "decoders"])
def test_the_entry_leads_to_the_router_and_can_lead_past_it(engines: tuple[Manifest, ...]) -> None:
    desired, without = with_router(*engines), make.desired(*engines)

    assert desired.entry["metadata"] == desired.direct_entry["metadata"] == without.entry["metadata"]
    assert desired.direct_entry == without.entry
    assert desired.entry["spec"]["selector"] == names.router_labels("qwen", "entry")


def test_the_workloads_of_engines_are_the_same_with_and_without_a_router() -> None:
    (with_,), (without,) = with_router(make.a_role()).roles, make.desired().roles

    assert with_.workload["spec"] == without.workload["spec"]


def test_engines_on_different_ports_cannot_be_one_pool() -> None:
    prefill, decode = make.prefill_and_decode()
    prefill["template"]["spec"]["containers"][0]["args"] += ["--port", "9000"]

    with pytest.raises(InvalidSpec) as caught:
        with_router(prefill, decode)

    assert caught.value.field == "spec.roles"
    assert caught.value.problem == (
        "all pods that get requests need one port, and these differ: 9000 of role 'prefill' and 8000 of role 'decode'; "
        "write the same --port in all roles"
    )
    with pytest.raises(InvalidSpec, match="write the same --port"):
        make.desired(prefill, decode)


@pytest.mark.parametrize(
    ("role", "is_enabled"),
    [
        pytest.param(engine(), False, id="vLLM"),
        pytest.param(engine("--enable-lora"), True, id="vLLM with LoRA"),
        pytest.param(engine("--enable-lora", "--lora-modules", "sql=/sql"), True, id="vLLM with adapters"),
        pytest.param(engine(command=["vllm", "serve", "--enable-lora"]), True, id="in the command"),
        pytest.param(
            make.a_role(
                template=make.a_template(
                    {"name": "engine", "image": "lmsysorg/sglang:v0.5.4", "args": ["--lora-paths", "a=/a"]}
                )
            ),
            True, id="SGLang with adapters",
        ),
        pytest.param(
            make.a_role(engine="custom", template=make.a_template(make.a_container(image="mine:1", args=[],
                        ports=[{"containerPort": 8000}], readinessProbe={"httpGet": {"path": "/", "port": 8000}}))),
            True, id="an engine whose words are not known",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "choice", [{"strategy": "lora-affinity"}, {"scorers": [{"type": "lora-affinity-scorer", "weight": 1}]}]
)
def test_adapters_are_looked_for_where_an_engine_may_serve_some(
    choice: Manifest, role: Manifest, is_enabled: bool
) -> None:
    if is_enabled:
        assert "lora-affinity-scorer" in plugins(router_of(role, **choice))
        return
    with pytest.raises(InvalidSpec, match="no engine of this service serves LoRA adapters") as caught:
        router_of(role, **choice)
    assert caught.value.field.startswith("spec.roles[1].")


def test_the_picker_is_told_whose_metrics_to_read() -> None:
    sglang = make.a_role(template=make.a_template({"name": "engine", "image": "lmsysorg/sglang:v0.5.4"}))

    assert "model-server-protocol-metrics" in plugins(router_of(sglang))
    assert "model-server-protocol-metrics" not in plugins(router_of(engine()))
    assert "core-metrics-extractor" in plugins(router_of(sglang, pickerRelease=NEW))


BY_LABEL = """\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- {{type: by-label, parameters: {{label: {key}, validValues: ["{value}"]}}}}
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [("team", "blue"), ("fusioninfer.io/role", "inference"), ("apps.kubernetes.io/pod-index", "7")],
    ids=["of the user", "of ours", "of the StatefulSet"],
)
def test_a_config_may_look_for_labels_that_the_engines_pods_carry(key: str, value: str) -> None:
    template = {"metadata": {"labels": {"team": "blue"}}, **make.a_template()}

    assert plugins(
        router_of(make.a_role(template=template), endpointPickerConfig=BY_LABEL.format(key=key, value=value))
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("team", "blue", "line 4: .*no pod of this service has the label team"),
        ("fusioninfer.io/role", "entry", "line 4: .*no pod of this service has the label fusioninfer.io/role=entry"),
    ],
    ids=["nobody's", "the router's own"],
)
def test_a_config_that_looks_for_other_labels_is_refused(key: str, value: str, problem: str) -> None:
    with pytest.raises(InvalidSpec, match=problem) as caught:
        router_of(endpointPickerConfig=BY_LABEL.format(key=key, value=value))

    assert caught.value.field == "spec.roles[1].endpointPickerConfig"


@pytest.mark.parametrize(
    ("release", "warnings"),
    [
        ("llm-d-inference-scheduler-0.7", ()),
        (
            NEW,
            ("picker release llm-d-router-0.10 was never run by us: its config is checked against its catalogue only",),
        ),
    ],
)
def test_a_release_that_we_never_ran_is_told_of(release: str, warnings: tuple[str, ...]) -> None:
    assert router_of(pickerRelease=release).warnings == warnings


def test_the_router_stands_for_itself_among_the_roles() -> None:
    role = router_of(replicas=3, progressDeadlineSeconds=60).role

    assert (role.name, role.component_type, role.replicas, role.nodes_per_replica) == ("entry", "router", 3, 1)
    assert (role.progress_deadline_seconds, role.path) == (60, "spec.roles[1]")
    assert role not in with_router(make.a_role()).service.entry_roles
