"""What a cluster has, and whether somebody operates."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fusioninfer.cli.parts import PARTS, Discovery, Lease, Seen, operator_of, report_of, shown
from fusioninfer.cli.parts import Deployment as Installed
from fusioninfer.kube.requests import Resource
from fusioninfer.reconcile.snapshot import CHILDREN, ENTRIES, LEADER_WORKER_SETS, POD_GROUPS, SERVICES
from tests.cli.seen import NOON, text

EVERYTHING = tuple(kind for part in PARTS for kind in part.kinds)


def discovery(*kinds: Resource, **versions: str) -> Discovery:
    """A cluster that serves `kinds`, some by plural in another version."""
    groups = [
        {
            "metadata": {"name": kind.group},
            "versions": [
                {"version": versions.get(kind.plural, kind.version), "resources": [{"resource": kind.plural}]}
            ],
        }
        for kind in kinds
    ]
    return msgspec.convert({"items": groups}, Discovery)


def a_lease(renewed: str, holder: str | None = "pod-1_7") -> Lease:
    metadata = {"name": "fusioninfer", "namespace": "fusioninfer-system"}
    return msgspec.convert(
        {"metadata": metadata, "spec": {"holderIdentity": holder, "renewTime": renewed}}, Lease
    )  # fmt: skip


def a_deployment(ready: int = 2) -> Installed:
    spec = {"replicas": 2, "template": {"spec": {"containers": [{"image": "there/fusioninfer:0.2.0"}]}}}
    metadata = {"name": "fusioninfer", "namespace": "fusioninfer-system"}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": {"readyReplicas": ready}}, Installed)


FRESH = a_lease("2026-11-24T11:59:58Z")


def lines(seen: Seen) -> list[str]:
    return text(shown(report_of(seen, NOON)))


def test_a_cluster_with_everything() -> None:
    seen = Seen(
        "v1.36.3",
        discovery(SERVICES, *EVERYTHING),
        bundles={"httproutes.gateway.networking.k8s.io": "v1.6.1"},
        images={"Volcano": "docker.io/volcanosh/vc-scheduler:v1.14.1"},
        operators=(a_deployment(),),
        leases=(FRESH,),
    )

    told = lines(seen)

    assert told[:3] == [
        "Kubernetes v1.36.3",
        "operator: Deployment fusioninfer-system/fusioninfer: 2/2 pods ready, there/fusioninfer:0.2.0; pod-1_7 leads "
        "(Lease fusioninfer-system/fusioninfer, renewed 2s ago)",
        "",
    ]
    assert [line.split()[0] for line in told[4:]] == ["FusionInfer", *(part.name.split()[0] for part in PARTS)]
    assert all("  yes  " in line for line in told[4:])
    assert any("gateway.networking.k8s.io/v1, v1.6.1" in line for line in told)
    assert any("vc-scheduler:v1.14.1" in line for line in told)
    assert report_of(seen, NOON).exit_code == 0


def test_what_is_missing_is_said_with_how_to_get_it_and_is_no_failure() -> None:
    seen = Seen("v1.36.3", discovery(SERVICES), leases=(FRESH,))

    told = lines(seen)

    assert report_of(seen, NOON).exit_code == 0
    for part in PARTS:
        assert f"to get {part.name}: {part.how}" in told


def test_another_version_than_is_needed_does_not_do() -> None:
    seen = Seen("v1.36.3", discovery(SERVICES, LEADER_WORKER_SETS, leaderworkersets="v1alpha1"), leases=(FRESH,))

    (found,) = (found for found in report_of(seen, NOON).parts if found.part.name == "LeaderWorkerSet")

    assert not found.is_served
    assert found.words == (
        "needs LeaderWorkerSet leaderworkerset.x-k8s.io/v1; LeaderWorkerSet is served as v1alpha1"
    )  # fmt: skip


def test_without_our_kind_it_fails() -> None:
    assert report_of(Seen("v1", discovery(*EVERYTHING), leases=(FRESH,)), NOON).exit_code == 1


@pytest.mark.parametrize(
    ("seen", "is_there", "words"),
    [
        pytest.param({"leases": (FRESH,)}, True, "pod-1_7 leads", id="leads"),
        pytest.param(
            {"leases": (a_lease("2026-11-24T10:00:00Z"),)}, False, "nobody leads any more", id="has led"
        ),
        pytest.param({"leases": (a_lease("2026-11-24T11:59:58Z", ""),)}, False, "nobody leads", id="released"),
        pytest.param({}, False, "install the chart, or run `fusioninfer operator`", id="nothing"),
        pytest.param({"unread": ("Lease: no right",)}, None, "that may not be known: Lease: no right", id="no right"),
        pytest.param(
            {"unread": ("Lease: no right",), "operators": (a_deployment(),)}, True, "2/2 pods", id="its pods alone"
        ),
        pytest.param(
            {"unread": ("Lease: no right",), "operators": (a_deployment(0),)}, None, "may not be", id="no pod is ready"
        ),
    ],
)  # fmt: skip
def test_whether_somebody_operates(seen: dict[str, Any], is_there: bool | None, words: str) -> None:
    found = operator_of(Seen("v1", discovery(), **seen), NOON)

    assert found.is_there is is_there
    assert words in found.words


def test_all_that_somebody_brings_belongs_to_a_part() -> None:
    """What we make and Kubernetes itself does not have."""
    brought = {
        kind for kind in CHILDREN.values() if "." in kind.group and not kind.group.endswith("authorization.k8s.io")
    }

    assert brought == set(EVERYTHING)
    assert ENTRIES not in brought
    assert POD_GROUPS in brought
