"""The router's pods: what runs in them, how they end, and what a user may change of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fusioninfer.api import hashes, names
from fusioninfer.api.service import InvalidSpec, Manifest, Router
from fusioninfer.build.desired import RouterObjects
from fusioninfer.build.router.deployment import router_deployment
from fusioninfer.build.router.envoy import envoy_config
from fusioninfer.build.router.releases import DEFAULT, releases
from tests import make

NEW = "llm-d-router-0.10"


def router_of(*engines: Manifest, **fields: Any) -> RouterObjects:
    """The router's objects, of a service of one worker or of `engines`."""
    objects = make.desired(*(engines or (make.a_role(),)), make.a_router(**fields)).router
    assert objects is not None
    return objects


def deployment(**fields: Any) -> Manifest:
    return router_of(**fields).workload


def template(*containers: Manifest, **spec: Any) -> Manifest:
    """The pods of a router of which a user changes so much."""
    made: Manifest = deployment(template=make.a_router_template(*containers, **spec))["spec"]["template"]
    return made


def picker(whole: Manifest) -> Manifest:
    return next(one for one in whole["spec"]["initContainers"] if one["name"] == "epp")


def envoy(whole: Manifest) -> Manifest:
    return next(one for one in whole["spec"]["containers"] if one["name"] == "envoy")


def heard(words: list[str]) -> list[str]:
    """What a process gets of its args: Kubernetes takes $$ for one dollar sign."""
    return [word.replace("$$", "$") for word in words]


# --- the pods ---


def test_the_picker_is_there_before_envoy_and_after_it() -> None:
    spec = template()["spec"]

    assert [one["name"] for one in spec["initContainers"]] == ["epp"]
    assert [one["name"] for one in spec["containers"]] == ["envoy"]
    assert picker({"spec": spec})["restartPolicy"] == "Always"
    assert "startupProbe" in picker({"spec": spec})


def test_pods_are_such_as_the_strictest_pod_security_lets_in() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    spec = template()["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & spec.keys()
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not [port for port in container["ports"] if "hostPort" in port]


def test_pods_carry_the_mark_of_their_template() -> None:
    whole = deployment()
    mark = make.mark_of(whole)
    unmarked = {**whole["spec"]["template"], "metadata": {"labels": whole["spec"]["template"]["metadata"]["labels"]}}

    assert whole["spec"]["template"]["metadata"]["annotations"] == {names.TEMPLATE: mark}
    assert hashes.of(unmarked) == mark


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"strategy": "queue-size"}, id="strategy"),
        pytest.param({"pickerRelease": NEW}, id="release"),
        pytest.param({"scorers": [{"type": "queue-scorer", "weight": 1}]}, id="scorers"),
        pytest.param({"template": make.a_router_template(nodeSelector={"a": "b"})}, id="template"),
        pytest.param({"template": {"metadata": {"annotations": {"a": "b"}}}}, id="annotation of the pods"),
    ],
)
def test_what_changes_the_pods_changes_their_mark(fields: Manifest) -> None:
    assert make.mark_of(deployment(**fields)) != make.mark_of(deployment())


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"replicas": 3}, id="replicas"),
        pytest.param({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}, id="metadata of the Deployment"),
        pytest.param({"progressDeadlineSeconds": 60}, id="deadline"),
        pytest.param({"strategy": "prefix-cache"}, id="the default, said"),
    ],
)
def test_what_changes_no_pod_leaves_the_mark(fields: Manifest) -> None:
    assert make.mark_of(deployment(**fields)) == make.mark_of(deployment())


def test_the_copies_of_the_engines_change_nothing_of_the_router() -> None:
    one, three = router_of(make.a_role(replicas=1)), router_of(make.a_role(replicas=3))

    assert one.manifests == three.manifests


# --- how they are replaced and how they end ---


def test_a_new_pod_is_ready_before_an_old_one_ends() -> None:
    assert deployment()["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }


def test_replicas_that_are_not_said_are_somebody_elses() -> None:
    assert deployment(replicas=2)["spec"]["replicas"] == 2
    assert deployment(replicas=0)["spec"]["replicas"] == 0
    unsaid = make.desired(make.a_role(), {"name": "entry", "componentType": "router"}).router
    assert unsaid is not None
    assert "replicas" not in unsaid.workload["spec"]


@pytest.mark.parametrize(("written", "seconds"), [({}, 600), ({"progressDeadlineSeconds": 60}, 60)])
def test_the_deployment_is_given_up_after_so_long(written: Manifest, seconds: int) -> None:
    assert deployment(**written)["spec"]["progressDeadlineSeconds"] == seconds


@pytest.mark.parametrize("grace", [600, 60, 20, 6, 2, 1])
def test_envoy_goes_on_until_shortly_before_the_pods_grace_is_over(grace: int) -> None:
    whole = template(terminationGracePeriodSeconds=grace)

    pause = envoy(whole)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert whole["spec"]["terminationGracePeriodSeconds"] == grace
    assert pause == max(grace - 5, 1)


def test_without_a_word_streams_have_a_minute() -> None:
    whole = template()

    assert whole["spec"]["terminationGracePeriodSeconds"] == 60
    assert envoy(whole)["lifecycle"]["preStop"] == {"sleep": {"seconds": 55}}
    assert "lifecycle" not in picker(whole)


@pytest.mark.parametrize("grace", [60, 1, 0])
def test_no_pause_is_longer_than_the_grace(grace: int) -> None:
    """The API server refuses such a pod."""
    whole = template(terminationGracePeriodSeconds=grace)

    pre_stop = envoy(whole).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    assert pre_stop["sleep"]["seconds"] <= grace


# --- probes ---


def test_the_picker_is_asked_by_grpc_whether_it_answers() -> None:
    one = picker(template())
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert one[probe]["grpc"] == {
            "port": ports["grpc-health"],
            "service": "envoy.service.ext_proc.v3.ExternalProcessor",
        }


def test_envoy_gets_no_request_before_it_and_the_picker_are_ready_and_lives_without_the_picker() -> None:
    one = envoy(template())

    assert one["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 19001}
    assert one["livenessProbe"]["httpGet"] == {"path": "/alive", "port": 19001}


# --- words ---


def config_words(**fields: Any) -> str:
    words = heard(picker(deployment(**fields)["spec"]["template"])["args"])
    (config,) = (word for word in words if word.startswith("--config-text="))
    return config.removeprefix("--config-text=")


DOLLARS = """\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- {name: "$(HOME) $$ ${x} é", type: queue-scorer}
- type: max-score-picker
schedulingProfiles:
- {name: default, plugins: [{pluginRef: "$(HOME) $$ ${x} é"}, {pluginRef: max-score-picker}]}
"""


def test_the_picker_gets_the_config_as_one_line_of_json() -> None:
    text = config_words(strategy="queue-size")

    assert "\n" not in text
    assert json.loads(text)["plugins"] == [{"type": "queue-scorer"}, {"type": "max-score-picker"}]


def test_no_word_of_a_config_is_taken_for_a_variable() -> None:
    raw = picker(deployment(endpointPickerConfig=DOLLARS)["spec"]["template"])["args"]
    (written,) = (word for word in raw if word.startswith("--config-text="))

    assert written.count("$") % 2 == 0
    assert "$(" not in written.replace("$$", "")
    config = json.loads(config_words(endpointPickerConfig=DOLLARS))
    assert config["plugins"][0]["name"] == "$(HOME) $$ ${x} é"
    assert config["schedulingProfiles"][0]["plugins"][0]["pluginRef"] == "$(HOME) $$ ${x} é"


def test_envoy_gets_its_whole_config_as_an_argument() -> None:
    words = heard(envoy(template())["args"])

    assert words[0] == "--config-yaml"
    assert json.loads(words[1]) == envoy_config()
    assert not [word for word in envoy(template())["args"] if "$" in word.replace("$$", "")]


def test_the_picker_of_0_7_is_told_its_pool() -> None:
    words = picker(template())["args"]

    assert words[:2] == ["--pool-name=qwen-entry", "--pool-namespace=default"]
    assert not [word for word in words if word.startswith("--endpoint-selector")]


def test_the_picker_of_0_10_is_told_labels_and_port() -> None:
    engine = make.a_role(template=make.a_template(make.a_container(args=["--model", "qwen", "--port", "9000"])))
    whole = router_of(engine, pickerRelease=NEW).workload["spec"]["template"]
    words = picker(whole)["args"]

    assert words[:3] == [
        "--endpoint-selector=fusioninfer.io/service=qwen,fusioninfer.io/serving=true",
        "--endpoint-target-ports=9000",
        "--pool-namespace=default",
    ]
    assert not [word for word in words if word.startswith("--pool-name=")]
    assert picker(whole)["env"] == [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    assert picker(whole)["image"].endswith(":v0.10.0")


@pytest.mark.parametrize(
    ("strategy", "labels"),
    [
        (
            "prefix-cache",
            "fusioninfer.io/component-type=decoder,fusioninfer.io/service=qwen,fusioninfer.io/serving=true",
        ),
        ("pd-disaggregation", "fusioninfer.io/service=qwen,fusioninfer.io/serving=true"),
    ],
)
def test_with_prefillers_the_picker_of_0_10_is_told_the_labels_of_whom_it_picks(strategy: str, labels: str) -> None:
    router = router_of(*make.prefill_and_decode(), pickerRelease=NEW, strategy=strategy)

    assert picker(router.workload["spec"]["template"])["args"][0] == f"--endpoint-selector={labels}"


# --- what a user changes ---


def test_a_users_words_about_the_picker_and_envoy_are_heard() -> None:
    whole = template(
        {"name": "epp", "image": "mirror/epp:1", "resources": {"limits": {"memory": "4Gi"}}},
        {"name": "envoy", "image": "mirror/envoy:1"},
        nodeSelector={"pool": "cpu"},
        tolerations=[{"key": "cpu"}],
        imagePullSecrets=[{"name": "mirror"}],
    )

    assert picker(whole)["image"] == "mirror/epp:1"
    assert picker(whole)["resources"] == {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}}
    assert picker(whole)["args"] == picker(template())["args"]
    assert envoy(whole)["image"] == "mirror/envoy:1"
    assert whole["spec"]["nodeSelector"] == {"pool": "cpu"}
    assert whole["spec"]["tolerations"] == [{"key": "cpu"}]
    assert whole["spec"]["imagePullSecrets"] == [{"name": "mirror"}]
    assert whole["spec"]["serviceAccountName"] == "qwen-entry"


def test_a_sidecar_of_the_users_own_is_kept() -> None:
    logger = {"name": "logger", "image": "logger:1"}

    assert template(logger)["spec"]["containers"][1:] == [logger]


def test_a_misspelt_container_is_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        template({"name": "picker", "resources": {}})

    assert caught.value.field == "spec.roles[1].template.spec.containers[0]"
    assert "the router has no container 'picker', only envoy and epp" in caught.value.problem


def test_labels_of_the_users_own_are_added_to_ours() -> None:
    whole = deployment(
        template={"metadata": {"labels": {"team": "blue"}, "annotations": {"scrape": "true"}}},
        metadata={"labels": {"cost": "1"}, "annotations": {"note": "x"}},
    )
    ours = names.router_labels("qwen", "entry")

    assert whole["spec"]["template"]["metadata"]["labels"] == {**ours, "team": "blue"}
    assert whole["spec"]["template"]["metadata"]["annotations"] == {
        "scrape": "true",
        names.TEMPLATE: make.mark_of(whole),
    }
    assert whole["metadata"]["labels"] == {**ours, "cost": "1"}
    assert whole["metadata"]["annotations"].keys() == {"note", names.TEMPLATE, names.ROLE_INPUT}
    assert whole["spec"]["selector"]["matchLabels"] == ours


def test_our_labels_are_ours_whatever_slipped_through() -> None:
    """The Deployment could not be made otherwise; `parse` refuses such a template."""
    written = {"metadata": {"labels": {names.ROLE_LABEL: "x", names.SERVICE_LABEL: "y"}}}
    router = Router("entry", template=written)

    made = router_deployment(make.a_service(), router, releases()[DEFAULT], {}, 8000, {})

    assert made["spec"]["template"]["metadata"]["labels"] == names.router_labels("qwen", "entry")


HANDLERS = {"exec", "grpc", "httpGet", "tcpSocket"}


@pytest.mark.parametrize("container", ["epp", "envoy"])
@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_a_probe_of_the_users_own_stands_instead_of_ours(container: str, probe: str) -> None:
    """The API server refuses a probe that does two things."""
    whole = template({"name": container, probe: {"exec": {"command": ["ok"]}, "periodSeconds": 7}})

    made = (picker if container == "epp" else envoy)(whole)[probe]
    assert made["periodSeconds"] == 7
    assert HANDLERS & made.keys() == {"exec"}


def test_a_pre_stop_of_the_users_own_stands_instead_of_ours() -> None:
    """The API server refuses a preStop that does two things."""
    own = {"exec": {"command": ["drain"]}}

    assert envoy(template({"name": "envoy", "lifecycle": {"preStop": own}}))["lifecycle"]["preStop"] == own


def test_a_variables_value_of_the_users_own_stands_instead_of_ours() -> None:
    """The API server refuses a variable with two values."""
    own = {"name": "POD_NAME", "value": "mine"}
    whole = deployment(
        pickerRelease=NEW, template=make.a_router_template({"name": "epp", "env": [own]})
    )["spec"]["template"]  # fmt: skip

    assert picker(whole)["env"] == [own]


@pytest.mark.parametrize("port", [{"containerPort": 9901}, {"name": "admin", "containerPort": 9901}])
def test_envoy_keeps_the_port_that_the_entry_leads_to_whatever_ports_are_added(port: Manifest) -> None:
    desired = make.desired(
        make.a_role(), make.a_router(template=make.a_router_template({"name": "envoy", "ports": [port]}))
    )
    assert desired.router is not None

    (target,) = (port["targetPort"] for port in desired.entry["spec"]["ports"])
    named = {port.get("name") for port in envoy(desired.router.workload["spec"]["template"])["ports"]}
    assert target in named


@pytest.mark.parametrize("field", ["args", "command"])
@pytest.mark.parametrize("name", ["epp", "envoy"])
def test_arguments_that_would_take_the_configuration_away_are_refused(name: str, field: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        template({"name": "mine", "image": "x", "args": ["a"]}, {"name": name, field: ["--v=5"]})

    assert caught.value.field == f"spec.roles[1].template.spec.containers[1].{field}"
    assert "endpointPickerConfig" in caught.value.problem
