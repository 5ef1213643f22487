"""`fusioninfer scale`: where the number is changed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.cli.look import Missing
from fusioninfer.cli.scale import JSON_PATCH, check, place_of, scale, workload_kind
from fusioninfer.kube import requests
from fusioninfer.kube.memory import MemoryServer, Served
from fusioninfer.reconcile.snapshot import DEPLOYMENTS, LEADER_WORKER_SETS, SERVICES, STATEFUL_SETS, Service
from tests import make, virtual
from tests.cli.asked import Asked, a_cluster


def service(*roles: Manifest, **spec: Any) -> Service:
    return msgspec.json.decode(msgspec.json.encode(make.raw_service(*roles, **spec)), type=Service)


def without_number(**fields: Any) -> Manifest:
    role = make.a_role(**fields)
    del role["replicas"]
    return role


@pytest.mark.parametrize(
    ("role", "spellings"),
    [
        pytest.param(make.a_role(), ["replicas"], id="replicas"),
        pytest.param(without_number(roleReplicas=1), ["roleReplicas"], id="roleReplicas"),
        pytest.param(make.a_role(roleReplicas=1), ["replicas", "roleReplicas"], id="both"),
    ],
)
def test_the_number_is_changed_as_it_is_spelt_if_it_is_as_it_was_seen(role: Manifest, spellings: list[str]) -> None:
    live = service(role)
    place = place_of(live, "inference")
    assert place is not None

    request = place.request(live, 3)

    assert request.content_type == JSON_PATCH
    patch = msgspec.json.decode(request.body)
    assert patch[0] == {"op": "test", "path": "/spec/roles/0/name", "value": "inference"}
    for index, spelling in enumerate(spellings):
        here = f"/spec/roles/0/{spelling}"
        assert patch[1 + 2 * index : 3 + 2 * index] == [
            {"op": "test", "path": here, "value": 1},
            {"op": "replace", "path": here, "value": 3},
        ]
    assert len(patch) == 1 + 2 * len(spellings)


def test_a_role_that_gives_no_number_is_scaled_at_its_workload() -> None:
    assert place_of(service(without_number()), "inference") is None


def test_a_role_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(Missing, match="service qwen has no role other; there are inference"):
        place_of(service(), "other")


def test_what_the_operator_would_refuse_is_not_sent() -> None:
    gang = {**make.GANG, "gang": {"mode": "MinReplicas", "minReplicas": {"inference": 2}}}
    live = service(make.a_role(replicas=2), schedulingStrategy=gang)
    place = place_of(live, "inference")
    assert place is not None

    check(live, place, 3)
    with pytest.raises(InvalidSpec, match="2 is more than the role's 1 replicas"):
        check(live, place, 1)


@pytest.mark.parametrize(
    ("role", "resource"),
    [
        pytest.param(without_number(), STATEFUL_SETS, id="one node"),
        pytest.param(without_number(podReplicas=2), LEADER_WORKER_SETS, id="several nodes"),
        pytest.param(without_number(multinode={"nodeCount": 2}), LEADER_WORKER_SETS, id="several, other spelling"),
        pytest.param({**without_number(), "componentType": "router"}, DEPLOYMENTS, id="router"),
    ],
)
def test_what_runs_a_role(role: Manifest, resource: requests.Resource) -> None:
    assert workload_kind(service(role), "inference") is resource


def test_the_scale_of_a_workload_is_written_and_nothing_else() -> None:
    async def story() -> None:
        kube = MemoryServer([Served(SERVICES, custom=True), Served(STATEFUL_SETS, subresources=("status", "scale"))])
        cluster = Asked(kube)
        manifest = {
            "apiVersion": "fusioninfer.io/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": "qwen", "namespace": "default"},
            "spec": {"roles": [without_number()]},
        }
        await kube.send(requests.apply(SERVICES, manifest, manager="kubectl"))
        workload = make.desired().roles[0].workload
        metadata = {key: value for key, value in workload["metadata"].items() if key != "ownerReferences"}
        await kube.send(requests.apply(STATEFUL_SETS, {**workload, "metadata": metadata}, manager="fusioninfer"))

        told = await scale(cluster, "default", "qwen", "inference", 4)

        assert told.startswith("qwen, role inference: StatefulSet qwen-inference 1 → 4; the role gives no replicas")
        live = msgspec.json.decode(await kube.send(requests.get(STATEFUL_SETS, "default", "qwen-inference")))
        assert live["spec"]["replicas"] == 4
        assert [path for path in cluster.paths if not path.startswith("GET")] == [
            "PATCH /apis/apps/v1/namespaces/default/statefulsets/qwen-inference/scale"
        ]

    virtual.run(story())


def test_the_number_that_is_there_already_is_not_written() -> None:
    async def story() -> None:
        cluster = await a_cluster(make.raw_service())

        assert await scale(cluster, "default", "qwen", "inference", 1) == "qwen, role inference: replicas is 1 already"
        assert all(path.startswith("GET") for path in cluster.paths)

    virtual.run(story())
