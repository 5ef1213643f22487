"""The pod template: completed, never overwritten."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import InvalidSpec, Manifest
from tests import make


def pod_spec(template: Manifest, **role: Any) -> Manifest:
    workload = make.desired(make.a_role(template=template, **role)).roles[0].workload
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(**fields: Any) -> Manifest:
    built: Manifest = pod_spec(make.a_template(make.a_container(**fields)))["containers"][0]
    return built


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("startupProbe", {"tcpSocket": {"port": 1}}),
        ("livenessProbe", {"tcpSocket": {"port": 1}}),
        ("readinessProbe", {"exec": {"command": ["true"]}}),
        ("terminationMessagePolicy", "File"),
        ("lifecycle", {"preStop": {"exec": {"command": ["/drain"]}}}),
        ("args", ["--model", 'a "b"\n$(X) {"c": 1}', ""]),
    ],
)
def test_what_the_user_wrote_is_kept(field: str, value: object) -> None:
    assert container(**{field: value})[field] == value


def test_a_hook_of_the_users_is_completed_by_the_drain() -> None:
    start = {"exec": {"command": ["/warm"]}}

    assert container(lifecycle={"postStart": start})["lifecycle"] == {
        "postStart": start,
        "preStop": {"sleep": {"seconds": 5}},
    }


@pytest.mark.parametrize(("grace", "drain"), [(60, 5), (4, 2)])
def test_the_drain_leaves_time_to_finish(grace: int, drain: int) -> None:
    spec = pod_spec(make.a_template(terminationGracePeriodSeconds=grace))

    assert spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == drain


def test_without_any_grace_there_is_no_drain() -> None:
    assert "lifecycle" not in pod_spec(make.a_template(terminationGracePeriodSeconds=0))["containers"][0]


def test_every_container_leaves_its_last_words() -> None:
    spec = pod_spec(
        make.a_template(
            make.a_container(), {"name": "sidecar", "image": "x"}, initContainers=[{"name": "init", "image": "y"}]
        )
    )

    everyone = [*spec["containers"], *spec["initContainers"]]
    assert {c["terminationMessagePolicy"] for c in everyone} == {"FallbackToLogsOnError"}


def test_only_the_engine_is_probed() -> None:
    spec = pod_spec(make.a_template({"name": "sidecar", "image": "x"}, make.a_container()))

    assert "readinessProbe" not in spec["containers"][0]
    assert "readinessProbe" in spec["containers"][1]


def test_the_startup_probe_lasts_as_long_as_the_role_may_take() -> None:
    (built,) = pod_spec(make.a_template(), progressDeadlineSeconds=95)["containers"]

    assert built["startupProbe"]["failureThreshold"] * built["startupProbe"]["periodSeconds"] == 95


def test_the_serving_port_is_named_so_that_it_may_change_without_a_gap() -> None:
    desired = make.desired(make.a_role(template=make.a_template(make.a_container(args=["--port=9000"]))))

    (built,) = desired.roles[0].workload["spec"]["template"]["spec"]["containers"]
    assert built["ports"] == [{"name": "http", "containerPort": 9000}]
    assert desired.entry["spec"]["ports"][0]["targetPort"] == "http"


def test_a_port_that_the_user_named_keeps_its_name() -> None:
    ports = [{"name": "api", "containerPort": 8000}]
    desired = make.desired(make.a_role(template=make.a_template(make.a_container(ports=ports))))

    assert desired.roles[0].workload["spec"]["template"]["spec"]["containers"][0]["ports"] == ports
    assert desired.entry["spec"]["ports"][0]["targetPort"] == "api"


def test_a_port_called_http_where_the_engine_does_not_serve_is_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        container(ports=[{"name": "http", "containerPort": 9090}])

    assert "'http' names another port than 8000" in str(caught.value)


def test_the_service_selects_its_own_pods_alone() -> None:
    desired = make.desired()
    labels = desired.roles[0].workload["spec"]["template"]["metadata"]["labels"]

    selector = desired.entry["spec"]["selector"]
    assert selector == {names.SERVICE_LABEL: "qwen", names.SERVING_LABEL: "true"}
    assert selector.items() <= labels.items()
    assert desired.roles[0].workload["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_scheduler_reaches_the_pods_unless_the_template_names_one() -> None:
    strategy = {"schedulerName": "my-scheduler"}
    plain = make.desired(make.a_role(), schedulingStrategy=strategy)
    own = make.desired(make.a_role(template=make.a_template(schedulerName="other")), schedulingStrategy=strategy)

    assert plain.roles[0].workload["spec"]["template"]["spec"]["schedulerName"] == "my-scheduler"
    assert own.roles[0].workload["spec"]["template"]["spec"]["schedulerName"] == "other"
