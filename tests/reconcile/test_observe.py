"""What is read of the children, and whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.reconcile.observe import key_of
from fusioninfer.reconcile.snapshot import CHILDREN, READ_AS, Deployment, Entry, Key, Owned
from tests import make

ROUTED = make.desired(make.a_role(), make.a_router(replicas=2), schedulingStrategy=make.GANG)


def _kinds(manifests: Iterable[Manifest]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def test_no_two_kinds_of_children_are_called_alike() -> None:
    """Children are told apart by kind and name, without their groups."""
    kinds = Counter(resource.kind for resource in CHILDREN.values())

    assert max(kinds.values()) == 1


@pytest.mark.parametrize("manifest", ROUTED.manifests, ids=[one["kind"] for one in ROUTED.manifests])
def test_every_child_that_is_made_is_watched_and_known_to_be_the_services(manifest: Manifest) -> None:
    resource = CHILDREN[manifest["apiVersion"], manifest["kind"]]
    live = msgspec.json.decode(msgspec.json.encode(make.applied(manifest)), type=READ_AS.get(resource, Owned))

    assert key_of(live) == Key("default", "qwen")
    assert make.a_snapshot().owns(live)
    assert live.metadata.annotations[names.APPLIED]


BEHIND = make.desired(make.a_role(), make.with_own_gateway()).router
assert BEHIND is not None
OF_GATEWAYS = [one for one in (*BEHIND.manifests, *BEHIND.for_providers) if one["kind"] not in _kinds(ROUTED.manifests)]


@pytest.mark.parametrize("manifest", OF_GATEWAYS, ids=[one["kind"] for one in OF_GATEWAYS])
def test_every_child_behind_a_gateway_is_watched_and_known_to_be_the_services(manifest: Manifest) -> None:
    live = make.child(make.applied(manifest))

    assert key_of(live) == Key("default", "qwen")
    assert make.a_snapshot().owns(live)
    assert live.metadata.annotations[names.APPLIED]


def test_all_kinds_of_children_are_among_those_that_were_looked_at() -> None:
    several = make.desired(make.a_role_of_nodes(2)).manifests

    assert _kinds((*ROUTED.manifests, *OF_GATEWAYS, *several)) == {resource.kind for resource in CHILDREN.values()}


def test_a_child_without_our_label_is_nobodys() -> None:
    live = make.applied(ROUTED.entry)
    live["metadata"]["labels"] = {}

    assert key_of(make.a_snapshot(children=(live,)).children["Service", "qwen"]) is None


def test_of_a_deployment_its_size_and_template_are_read_and_of_a_service_whom_it_selects() -> None:
    assert ROUTED.router is not None
    children = (make.applied(ROUTED.router.workload), make.applied(ROUTED.entry))
    snapshot = make.a_snapshot(children=children)
    deployment, entry = snapshot.children["Deployment", "qwen-entry"], snapshot.children["Service", "qwen"]

    assert isinstance(deployment, Deployment)
    assert deployment.spec.replicas == 2
    assert msgspec.json.decode(deployment.template) == ROUTED.router.workload["spec"]["template"]
    assert isinstance(entry, Entry)
    assert entry.spec.selector == names.router_labels("qwen", "entry")
    assert snapshot.workload("qwen-entry", "Deployment") is deployment
    assert snapshot.workload("qwen-entry", "StatefulSet") is None
