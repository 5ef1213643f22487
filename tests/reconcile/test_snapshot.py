"""Which changes of what is watched are news: a turn for each, and for nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.reconcile.snapshot import Child, Entry, PodGroup, StatefulSet, is_news
from tests import make


def changed(live: Manifest, **parts: Manifest) -> Manifest:
    """`live` with some of its metadata, spec or status changed."""
    return {**live, **{part: {**live.get(part, {}), **fields} for part, fields in parts.items()}}


# --- pods ---

POD = make.in_gang(make.without_node(make.a_pod(), message="0/5 nodes are unavailable: 5 Insufficient nvidia.com/gpu."))
FITS = make.that_fits(make.in_gang(make.a_pod()))


def conditions(live: Manifest, **fields: Any) -> Manifest:
    """`live` with another condition than its own."""
    return changed(live, status={"conditions": [{**live["status"]["conditions"][0], **fields}]})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(POD, changed(POD, metadata={"resourceVersion": "8"}), id="its version"),
        pytest.param(POD, changed(POD, metadata={"generation": 2}), id="its generation"),
        pytest.param(POD, changed(POD, metadata={"managedFields": [{"manager": "kubelet"}]}), id="who holds what"),
        pytest.param(POD, conditions(POD, lastProbeTime="2026-11-24T12:00:00Z"), id="when it was looked at"),
        pytest.param(FITS, make.that_fits(FITS, "gpu-7"), id="the node that it could have"),
        pytest.param(POD, changed(POD, spec={"containers": []}), id="what we do not read"),
    ],
)
def test_of_a_pod_it_is_no_news(old: Manifest, new: Manifest) -> None:
    assert not is_news(make.decoded_pod(old), make.decoded_pod(new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(POD, changed(POD, metadata={"uid": "another"}), id="it is another one"),
        pytest.param(POD, make.that_ends(POD), id="it ends"),
        pytest.param(POD, changed(POD, metadata={"labels": {}}), id="its labels"),
        pytest.param(POD, make.in_gang(POD, "another"), id="its gang"),
        pytest.param(POD, changed(POD, metadata={"ownerReferences": []}), id="its owner"),
        pytest.param(FITS, make.on_node(FITS), id="it has a node"),
        pytest.param(POD, changed(POD, status={"phase": "Running"}), id="its phase"),
        pytest.param(POD, make.that_fits(POD), id="it would fit now"),
        pytest.param(FITS, POD, id="it would not fit any more"),
        pytest.param(POD, conditions(POD, message="0/6 nodes are unavailable"), id="what it lacks"),
        pytest.param(POD, conditions(POD, status="True"), id="it was placed"),
        pytest.param(FITS, conditions(FITS, lastTransitionTime="2026-11-24T12:00:00Z"), id="since when it waits"),
        pytest.param(POD, changed(POD, status={"conditions": []}), id="a condition less"),
        pytest.param(
            POD, changed(POD, status={"containerStatuses": [{"name": "engine", "restartCount": 1}]}), id="a restart"
        ),
    ],
)
def test_of_a_pod_it_is_news(old: Manifest, new: Manifest) -> None:
    assert is_news(make.decoded_pod(old), make.decoded_pod(new))


# --- gangs ---

GROUP = make.applied(make.desired(schedulingStrategy=make.GANG).manifests[1], phase="Inqueue")


def group(live: Manifest) -> PodGroup:
    return msgspec.json.decode(msgspec.json.encode(live), type=PodGroup)


def held(**entry: Any) -> Manifest:
    """The gang with a change of who holds its fields."""
    return changed(GROUP, metadata={"managedFields": [{**GROUP["metadata"]["managedFields"][0], **entry}]})


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(changed(GROUP, metadata={"resourceVersion": "8"}), id="its version"),
        pytest.param(changed(GROUP, metadata={"generation": 9}), id="its generation, which follows its status too"),
        pytest.param(changed(GROUP, status={"running": 1}), id="how many of it run"),
        pytest.param(held(time="2026-11-24T12:00:00Z"), id="when somebody wrote to it"),
        pytest.param(changed(GROUP, spec={"minResources": {}}), id="what we do not read"),
    ],
)
def test_of_a_gang_it_is_no_news(new: Manifest) -> None:
    assert not is_news(group(GROUP), group(new))


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(changed(GROUP, status={"conditions": [{"type": "Scheduled"}]}), id="that it has started"),
        pytest.param(changed(GROUP, status={"phase": "Running"}), id="its phase"),
        pytest.param(changed(GROUP, spec={"minMember": 5}), id="what it asks for"),
        pytest.param(changed(GROUP, spec={"queue": "another"}), id="its queue"),
        pytest.param(changed(GROUP, spec={"subGroupPolicy": []}), id="its parts"),
        pytest.param(held(manager="somebody"), id="who holds it"),
        pytest.param(held(fieldsV1={"f:spec": {}}), id="what we hold of it"),
        pytest.param(changed(GROUP, metadata={"managedFields": []}), id="nobody holds it any more"),
        pytest.param(changed(GROUP, metadata={"annotations": {}}), id="our mark on it"),
        pytest.param(changed(GROUP, metadata={"labels": {}}), id="our label on it"),
        pytest.param(changed(GROUP, metadata={"ownerReferences": []}), id="its owner"),
        pytest.param(changed(GROUP, metadata={"uid": "another"}), id="it is another one"),
        pytest.param(make.that_ends(GROUP), id="it ends"),
    ],
)
def test_of_a_gang_it_is_news(new: Manifest) -> None:
    assert is_news(group(GROUP), group(new))


# --- what gateways' controllers write on ---

BEHIND = make.desired(make.a_role(), make.with_own_gateway())
WAYS = {
    kind: make.open_hop(make.applied(next(one for one in BEHIND.manifests if one["kind"] == kind)))
    for kind in ("HTTPRoute", "Gateway", "InferencePool")
}


def way(live: Manifest) -> Child:
    return make.child(live)


def told(live: Manifest, **fields: Any) -> Manifest:
    """`live` with another first condition than its own."""
    if live["kind"] == "Gateway":
        first, *others = live["status"]["conditions"]
        return changed(live, status={"conditions": [{**first, **fields}, *others]})
    (parent,) = live["status"]["parents"]
    first, *others = parent["conditions"]
    return changed(live, status={"parents": [{**parent, "conditions": [{**first, **fields}, *others]}]})


@pytest.mark.parametrize("live", WAYS.values(), ids=WAYS)
def test_what_a_gateways_controller_writes_again_is_no_news(live: Manifest) -> None:
    fields = {**live["metadata"]["managedFields"][0], "time": "2026-11-24T13:00:00Z"}

    for again in (
        changed(live, metadata={"resourceVersion": "8"}),
        told(live, lastTransitionTime="2026-11-24T13:00:00Z"),
        changed(live, metadata={"managedFields": [fields]}),
    ):
        assert not is_news(way(live), way(again))


@pytest.mark.parametrize("live", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "fields",
    [{"status": "False"}, {"reason": "Pending"}, {"message": "no"}, {"observedGeneration": 2}],
    ids=["verdict", "reason", "words", "of which version"],
)
def test_what_a_gateways_controller_says_otherwise_is_news(live: Manifest, fields: Manifest) -> None:
    assert is_news(way(live), way(told(live, **fields)))


@pytest.mark.parametrize("live", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "metadata",
    [
        {"generation": 2}, {"uid": "another"}, {"labels": {}}, {"annotations": {}}, {"ownerReferences": []},
        {"managedFields": []}, {"deletionTimestamp": "2026-11-24T12:00:00Z"},
    ],
    ids=lambda metadata: next(iter(metadata)),
)  # fmt: skip
def test_what_somebody_does_to_a_way_in_is_news(live: Manifest, metadata: Manifest) -> None:
    assert is_news(way(live), way(changed(live, metadata=metadata)))


def test_a_gateways_new_address_is_news() -> None:
    live = WAYS["Gateway"]

    assert is_news(way(live), way(changed(live, status={"addresses": [{"value": "192.0.2.8"}]})))


# --- everything else ---


@pytest.mark.parametrize("kind", [Entry, StatefulSet])
def test_every_change_of_another_child_is_news(kind: type[Entry | StatefulSet]) -> None:
    desired = make.desired()
    live = make.applied(desired.entry if kind is Entry else desired.roles[0].workload)
    encoded = msgspec.json.encode(live)

    assert is_news(msgspec.json.decode(encoded, type=kind), msgspec.json.decode(encoded, type=kind))


# --- the gang of a service ---


def test_a_gang_is_the_services_own_only_if_we_control_it() -> None:
    theirs = changed(
        GROUP, metadata={"ownerReferences": [{"uid": "x", "kind": "Job", "name": "x", "controller": True}]}
    )
    named_otherwise = changed(GROUP, metadata={"name": "another"})

    assert make.a_snapshot(children=(GROUP,)).gang == group(GROUP)
    assert make.a_snapshot(children=(theirs,)).gang is None
    assert make.a_snapshot(children=(named_otherwise,)).gang is None
    assert make.a_snapshot().gang is None
