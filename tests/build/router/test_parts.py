"""All objects of a router: their names and labels, and that everything that selects pods selects the right ones."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, RouterObjects
from tests import make

NEW = "llm-d-router-0.10"


def with_router(*engines: Manifest, **fields: Any) -> Desired:
    return make.desired(*(engines or (make.a_role(),)), make.a_router(**fields))


def router(desired: Desired) -> RouterObjects:
    assert desired.router is not None
    return desired.router


def by_kind(desired: Desired) -> dict[str, Manifest]:
    """The router's objects; none has two of a kind."""
    return {manifest["kind"]: manifest for manifest in router(desired).manifests}


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        pytest.param(
            {}, ["ServiceAccount", "RoleBinding", "Service", "InferencePool", "Deployment"], id="0.7, one pod"
        ),
        pytest.param(
            {"replicas": 2},
            ["ServiceAccount", "RoleBinding", "Service", "InferencePool", "PodDisruptionBudget", "Deployment"],
            id="0.7, two pods",
        ),
        pytest.param({"pickerRelease": NEW}, ["ServiceAccount", "RoleBinding", "Deployment"], id="0.10 has no pool"),
        pytest.param(
            {"pickerRelease": NEW, "replicas": 2},
            ["ServiceAccount", "RoleBinding", "PodDisruptionBudget", "Deployment"],
            id="0.10, two pods",
        ),
    ],
)
def test_a_router_is_made_of(fields: Manifest, kinds: list[str]) -> None:
    assert [manifest["kind"] for manifest in router(with_router(**fields)).manifests] == kinds


@pytest.mark.parametrize(("replicas", "budgets"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_there_is_a_budget_where_one_pod_may_go_and_others_stay(replicas: int, budgets: int) -> None:
    parts = router(with_router(replicas=replicas)).parts

    assert [part["spec"]["maxUnavailable"] for part in parts if part["kind"] == "PodDisruptionBudget"] == [1] * budgets


def test_there_is_no_budget_where_others_count_the_pods() -> None:
    unsaid = make.desired(make.a_role(), {"name": "entry", "componentType": "router"})

    assert "PodDisruptionBudget" not in by_kind(unsaid)


@pytest.mark.parametrize("release", ["llm-d-inference-scheduler-0.7", NEW])
def test_every_object_has_the_routers_name_its_labels_and_our_owner(release: str) -> None:
    ours = names.router_labels("qwen", "entry")

    for manifest in router(with_router(replicas=2, pickerRelease=release)).manifests:
        metadata = manifest["metadata"]
        assert (metadata["name"], metadata["namespace"]) == ("qwen-entry", "default")
        assert metadata["labels"] == ours
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("InferenceService", "qwen", make.UID)
        assert owner["controller"] is True


def test_the_picker_may_read_what_its_cluster_role_says_in_its_own_namespace() -> None:
    parts = by_kind(with_router())

    assert parts["RoleBinding"]["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "fusioninfer-endpoint-picker",
    }
    account = parts["ServiceAccount"]["metadata"]
    assert parts["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert parts["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]


def test_the_pool_names_the_pickers_service_and_port() -> None:
    parts = by_kind(with_router())
    reference = parts["InferencePool"]["spec"]["endpointPickerRef"]

    assert (reference["group"], reference["kind"], reference["name"]) == ("", "Service", "qwen-entry")
    assert reference["failureMode"] == "FailClose"
    (port,) = parts["Service"]["spec"]["ports"]
    assert reference["port"] == {"number": port["port"]}
    (picker,) = parts["Deployment"]["spec"]["template"]["spec"]["initContainers"]
    assert port["targetPort"] in [one["containerPort"] for one in picker["ports"]]


@pytest.mark.parametrize(("args", "port"), [(["--model", "qwen"], 8000), (["--model", "qwen", "--port", "9000"], 9000)])
def test_the_pool_has_the_port_on_which_engines_answer(args: list[str], port: int) -> None:
    engine = make.a_role(template=make.a_template(make.a_container(args=args)))

    assert by_kind(with_router(engine))["InferencePool"]["spec"]["targetPorts"] == [{"number": port}]


# --- who selects whom ---

SERVICES = [
    pytest.param((make.a_role(),), id="one worker"),
    pytest.param((make.a_role_of_nodes(2),), id="a worker of several nodes"),
    pytest.param(make.prefill_and_decode(), id="prefill and decode"),
    pytest.param(make.prefill_and_decode(nodes=(4, 2)), id="prefill and decode of several nodes"),
]


def selectors(desired: Desired) -> dict[str, Manifest]:
    """The labels of the pods that each object means, by its kind."""
    parts = by_kind(desired)
    return {
        "entry": desired.entry["spec"]["selector"],
        "Service": parts["Service"]["spec"]["selector"],
        "PodDisruptionBudget": parts["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "Deployment": parts["Deployment"]["spec"]["selector"]["matchLabels"],
    }


@pytest.mark.parametrize("engines", SERVICES)
def test_all_that_means_the_routers_pods_means_them_and_no_others(engines: tuple[Manifest, ...]) -> None:
    own = {"metadata": {"labels": {"team": "blue"}}}
    desired = with_router(*engines, replicas=2, template=own)
    pods = by_kind(desired)["Deployment"]["spec"]["template"]["metadata"]["labels"]

    for kind, selector in selectors(desired).items():
        assert selector, kind
        assert selector.items() <= pods.items(), kind
        for objects in desired.roles:
            for engine in objects.templates:
                assert not selector.items() <= engine["metadata"]["labels"].items(), kind


@pytest.mark.parametrize("engines", SERVICES)
def test_the_pool_is_of_the_pods_that_answer_whole_requests(engines: tuple[Manifest, ...]) -> None:
    desired = with_router(*engines, strategy="prefix-cache")
    selector = by_kind(desired)["InferencePool"]["spec"]["selector"]["matchLabels"]
    pods = by_kind(desired)["Deployment"]["spec"]["template"]["metadata"]["labels"]

    assert selector == desired.direct_entry["spec"]["selector"]
    assert not selector.items() <= pods.items()
    for objects in desired.roles:
        leader, worker = (template["metadata"]["labels"] for template in objects.templates)
        assert (selector.items() <= leader.items()) is (objects.role in desired.service.entry_roles)
        if objects.role.nodes_per_replica > 1:
            assert not selector.items() <= worker.items()


@pytest.mark.parametrize("engines", SERVICES[2:])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="by default"),
        pytest.param({"strategy": "pd-disaggregation"}, id="by name"),
        pytest.param(
            {"endpointPickerConfig": "apiVersion: inference.networking.x-k8s.io/v1alpha1\n"
             "kind: EndpointPickerConfig\nplugins: [{type: prefill-filter}]\n"},
            id="by a config of the user's",
        ),
    ],
)  # fmt: skip
def test_the_pool_is_of_both_sides_where_prompts_are_sent_to_prefillers(
    how: Manifest, engines: tuple[Manifest, ...]
) -> None:
    desired = with_router(*engines, **how)
    selector = by_kind(desired)["InferencePool"]["spec"]["selector"]["matchLabels"]

    for objects in desired.roles:
        leader, worker = (template["metadata"]["labels"] for template in objects.templates)
        assert selector.items() <= leader.items()
        if objects.role.nodes_per_replica > 1:
            assert not selector.items() <= worker.items()
    assert not selector.items() <= by_kind(desired)["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert desired.direct_entry["spec"]["selector"][names.COMPONENT_TYPE_LABEL] == "decoder"


def test_no_two_services_select_each_others_pods() -> None:
    one, other = (make.desired(make.a_role(), make.a_router(replicas=2), name=name) for name in ("one", "other"))
    theirs = by_kind(other)["Deployment"]["spec"]["template"]["metadata"]["labels"]

    for selector in (*selectors(one).values(), by_kind(one)["InferencePool"]["spec"]["selector"]["matchLabels"]):
        assert not selector.items() <= theirs.items()
        assert not selector.items() <= other.roles[0].templates[0]["metadata"]["labels"].items()


@pytest.mark.parametrize("engines", SERVICES)
def test_the_entry_leads_to_envoys_port(engines: tuple[Manifest, ...]) -> None:
    desired = with_router(*engines)
    (envoy,) = by_kind(desired)["Deployment"]["spec"]["template"]["spec"]["containers"]

    (port,) = desired.entry["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "http")
    assert envoy["ports"] == [{"name": "http", "containerPort": 8081}]
