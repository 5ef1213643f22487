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
        ("args", ["--model", 'a "b"\n$(X) {"c": 1}', "", "--shutdown-timeout", "9"]),
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


# --- the gang ---


def gang_templates(*roles: Manifest, **strategy: Any) -> list[Manifest]:
    """All templates of a service whose pods Volcano places."""
    desired = make.desired(*roles, schedulingStrategy={**make.GANG, **strategy})
    return [template for objects in desired.roles for template in objects.templates]


def test_every_engine_pod_names_its_gang_and_the_scheduler_that_sees_to_it() -> None:
    for template in gang_templates(*make.prefill_and_decode(nodes=(4, 1))):
        assert template["metadata"]["annotations"].items() >= make.of_gang("qwen").items()
        assert template["spec"]["schedulerName"] == "volcano"


@pytest.mark.parametrize("nodes", [1, 2])
def test_annotations_of_the_users_stay_beside_the_gangs(nodes: int) -> None:
    role = make.a_role_of_nodes(nodes)
    role["template"]["metadata"] = {"annotations": {"team": "blue"}, "name": "mine"}

    for template in gang_templates(role):
        metadata = template["metadata"]
        assert metadata["annotations"].items() >= {"team": "blue", **make.of_gang()}.items()
        assert metadata["name"] == "mine"


def test_a_worker_template_of_the_users_is_in_the_gang_too() -> None:
    written = make.a_template({"name": "peer", "image": "mine:1", "ports": [{"containerPort": 1}]})
    role = make.a_role(engine="custom", multinode={"nodeCount": 2, "workerTemplate": written})

    for template in gang_templates(role):
        assert template["metadata"]["annotations"].items() >= make.of_gang().items()
        assert template["spec"]["schedulerName"] == "volcano"


@pytest.mark.parametrize(
    "strategy",
    [{}, {"schedulerName": "my-scheduler"}, {**make.GANG, "gang": {"mode": "None"}}],
    ids=["nothing said", "another scheduler", "mode None"],
)
def test_without_a_gang_pods_carry_what_the_user_wrote_alone(strategy: Manifest) -> None:
    mine = make.of_gang("mine")
    plain = make.desired(schedulingStrategy=strategy).roles[0].templates[0]
    own = make.a_role(template={"metadata": {"annotations": mine}, **make.a_template()})
    marked = make.desired(own, schedulingStrategy=strategy).roles[0].templates[0]

    assert "annotations" not in plain["metadata"]
    assert marked["metadata"]["annotations"] == mine


@pytest.mark.parametrize("empty", ["", None], ids=["empty", "null"])
def test_a_scheduler_name_that_names_none_does_not_keep_a_pod_out_of_the_gang(empty: str | None) -> None:
    """The API server fills in its default scheduler for it, and the gang would wait for the pod for ever."""
    (template, _) = gang_templates(make.a_role(template=make.a_template(schedulerName=empty)))

    assert template["spec"]["schedulerName"] == "volcano"


# --- several nodes ---


def templates(nodes: int, **fields: Any) -> tuple[Manifest, Manifest]:
    """The engine containers of a leader and of a worker."""
    args = ["--model", "qwen", "--tensor-parallel-size", str(nodes)]
    role = make.a_role(template=make.a_template(make.a_container(args=args, **fields)), multinode={"nodeCount": nodes})
    spec = make.desired(role).roles[0].workload["spec"]["leaderWorkerTemplate"]
    return (spec["leaderTemplate"], spec["workerTemplate"])


def test_only_who_answers_has_ports_probes_and_the_serving_label() -> None:
    ports, probe = [{"containerPort": 8000}], {"httpGet": {"path": "/health", "port": 8000}}

    leader, worker = templates(2, ports=ports, readinessProbe=probe)

    told, silent = leader["spec"]["containers"][0], worker["spec"]["containers"][0]
    assert told["readinessProbe"] == probe
    assert leader["metadata"]["labels"][names.SERVING_LABEL] == "true"
    assert not {"ports", "readinessProbe", "livenessProbe", "startupProbe"} & silent.keys()
    assert names.SERVING_LABEL not in worker["metadata"]["labels"]


def test_a_worker_goes_on_while_its_leader_finishes() -> None:
    leader, worker = templates(2)

    leaders, workers = (part["spec"]["containers"][0]["lifecycle"]["preStop"] for part in (leader, worker))
    assert leaders == {"sleep": {"seconds": 5}}
    assert workers == {"sleep": {"seconds": 45}}


def test_processes_that_share_memory_get_more_than_64_mib_of_it() -> None:
    for template in templates(2):
        (volume,) = template["spec"]["volumes"]
        assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
        assert template["spec"]["containers"][0]["volumeMounts"] == [{"name": volume["name"], "mountPath": "/dev/shm"}]


def test_shared_memory_of_the_users_is_left_alone() -> None:
    mine = [{"name": "mine", "mountPath": "/dev/shm/"}]

    for template in templates(2, volumeMounts=mine):
        assert template["spec"]["containers"][0]["volumeMounts"] == mine
        assert "volumes" not in template["spec"]


def test_the_users_own_worker_template_is_only_labelled_and_never_rewritten() -> None:
    written = make.a_template({"name": "peer", "image": "mine:1", "ports": [{"containerPort": 1}], "args": ["$(X)"]})
    role = make.a_role(engine="custom", multinode={"nodeCount": 2, "workerTemplate": written})

    spec = make.desired(role).roles[0].workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]

    (container,) = spec["containers"]
    assert container == {**written["spec"]["containers"][0], "terminationMessagePolicy": "FallbackToLogsOnError"}
