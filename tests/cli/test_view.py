"""What is shown of a service, as values."""

from __future__ import annotations

import msgspec
import pytest

from fusioninfer.cli.status import Output, encoded
from fusioninfer.cli.view import copies, row_of
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES, POOLS
from fusioninfer.reconcile.snapshot import DEPLOYMENTS
from tests import make
from tests.cli import seen


def test_a_ready_service_has_nothing_that_is_not_as_wished() -> None:
    view = seen.view(pods=(make.a_ready_pod(),))

    assert view.is_ready
    assert view.unwished == ()
    (role,) = view.roles
    assert (role.componentType, role.workload, role.is_whole) == ("worker", "StatefulSet qwen-inference", True)
    assert [(pod.name, pod.ready, pod.node) for pod in role.pods] == [("qwen-inference-0", True, "local")]


def test_a_pod_says_in_the_words_of_the_status_why_it_is_not_ready() -> None:
    view = seen.view(pods=(make.a_waiting_pod(reason="ErrImagePull", message="no such image"),))

    (pod,) = view.roles[0].pods
    assert pod.reason == "ErrImagePull"
    assert view.roles[0].status is not None
    assert pod.message == view.roles[0].status.message
    assert {condition.type for condition in view.unwished} >= {"Ready", "Available", "WorkloadsReady", "Stalled"}


def test_a_pod_that_ends_says_so() -> None:
    view = seen.view(pods=(make.a_ready_pod(), make.that_ends(make.a_ready_pod(1))))

    assert [pod.reason for pod in view.roles[0].pods] == ["", "Terminating"]


def test_pods_of_several_nodes_stand_copy_by_copy() -> None:
    role = make.a_role_of_nodes(2, replicas=2)
    mark = make.mark_of(make.desired(role).roles[0].workload)
    groups = (make.a_group(index, template=mark) for index in (1, 0))

    view = seen.view(role, pods=tuple(pod for group in groups for pod in group))

    names = [(index, [pod.name for pod in pods]) for index, pods in copies(view.roles[0])]
    assert names == [
        (0, ["qwen-inference-0", "qwen-inference-0-1"]),
        (1, ["qwen-inference-1", "qwen-inference-1-1"]),
    ]


def test_a_role_of_which_the_status_does_not_tell_yet_is_there() -> None:
    view = seen.view(status=False)

    assert [(role.name, role.status) for role in view.roles] == [("inference", None)]
    assert not view.is_seen


def test_pods_of_a_role_that_was_removed_are_there() -> None:
    view = seen.view(pods=(make.a_ready_pod(workload="qwen-earlier"),))

    assert [role.name for role in view.roles] == ["inference", "earlier"]


def test_a_gang_says_how_much_it_asks_for() -> None:
    roles = make.prefill_and_decode((2, 1), (2, 1))

    gang = seen.view(*roles, schedulingStrategy=make.GANG, changed=seen.GANG_WAITS).gang

    assert gang is not None
    assert (gang.phase, gang.queue) == ("Inqueue", "default")
    assert gang.asks == "5 pods (2 of prefill x 2 pods, 1 of decode)"


def hops(*parents: object) -> list[tuple[str, bool]]:
    """Each hop of a service behind a gateway whose route hears that of its gateways, and whether it is open."""
    route = {"status": {"parents": list(parents)}}
    pool = {"status": {"parents": [make.by_parent(*make.told("Accepted", "ResolvedRefs"))]}}
    view = seen.view(make.a_role(), make.behind_a_gateway(), changed={HTTP_ROUTES.kind: route, POOLS.kind: pool})
    return [(hop.kind, hop.isOpen) for hop in view.hops]


def test_hops_are_open_or_closed() -> None:
    taken = make.by_parent(*make.told("Accepted", "ResolvedRefs"))
    refused = make.by_parent(*make.told("Accepted", "ResolvedRefs", Accepted="False/NotAllowedByListeners"))

    assert hops(taken) == [("HTTPRoute", True), ("InferencePool", True)]
    assert hops(refused) == [("HTTPRoute", False), ("InferencePool", True)]


def test_a_pool_that_no_gateway_leads_to_is_no_closed_hop() -> None:
    view = seen.view(make.a_role(), make.a_router())

    assert [(hop.kind, hop.isOpen) for hop in view.hops] == [("InferencePool", True)]


@pytest.mark.parametrize(
    ("spec", "unread"),
    [
        pytest.param({}, ["Pod: no right"], id="neither gang nor gateway"),
        pytest.param({"schedulingStrategy": make.GANG}, ["Pod: no right", "PodGroup: no right"], id="a gang"),
    ],
)
def test_only_what_matters_is_said_not_to_be_readable(spec: dict[str, object], unread: list[str]) -> None:
    kinds = dict.fromkeys(("Pod", "PodGroup", "HTTPRoute"), "no right")

    assert list(seen.view(unread=kinds, missing=("PodGroup",), **spec).unread) == unread


def test_programs_read_the_same_view() -> None:
    view = seen.view(pods=(make.a_ready_pod(),))

    document = msgspec.json.decode(encoded(view, Output.JSON))

    assert document["status"]["components"]["inference"]["phase"] == "Running"
    assert document["roles"][0]["pods"] == [{"name": "qwen-inference-0", "copy": 0, "ready": True, "node": "local"}]
    assert msgspec.yaml.decode(encoded(view, Output.YAML)) == document


def test_a_row_says_what_ready_says() -> None:
    row = row_of(seen.looked(pods=(make.a_ready_pod(),)).service)

    assert (row.ready, row.reason, row.roles) == ("True", "Ready", {"inference": "1/1"})


def test_a_row_does_not_pass_off_an_earlier_generation_as_the_present_one() -> None:
    service = seen.looked(pods=(make.a_ready_pod(),)).service
    changed = msgspec.structs.replace(service, metadata=msgspec.structs.replace(service.metadata, generation=2))

    assert (row_of(changed).ready, row_of(changed).reason) == ("Unknown", "NotSeenYet")


def test_a_deployment_is_the_workload_of_a_router() -> None:
    view = seen.view(make.a_role(), make.a_router())

    assert view.roles[1].workload == f"{DEPLOYMENTS.kind} qwen-entry"
