"""Metrics: what is told, in few series."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from fusioninfer.daemon.metrics import (
    CacheState,
    Metrics,
    State,
    by_ready,
    not_ready_longest_seconds,
    resource_of,
    verb_of,
)
from fusioninfer.kube import requests
from fusioninfer.kube.requests import Resource

SETS = Resource("apps", "v1", "StatefulSet", "statefulsets")
PODS = Resource("", "v1", "Pod", "pods")
OURS = Resource("fusioninfer.io", "v1alpha1", "InferenceService", "inferenceservices")


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        pytest.param(SETS.path("default", "qwen"), "statefulsets", id="object"),
        pytest.param(SETS.path("default"), "statefulsets", id="collection of a namespace"),
        pytest.param(SETS.path(), "statefulsets", id="collection of all"),
        pytest.param(PODS.path("default", "qwen-0"), "pods", id="core"),
        pytest.param(OURS.path("default", "qwen", "status"), "inferenceservices/status", id="subresource"),
        pytest.param("/version", "other", id="no resource"),
        pytest.param("/api", "other", id="too short"),
        pytest.param("", "other", id="empty"),
    ],
)
def test_resource_is_named_without_namespace_and_name(path: str, resource: str) -> None:
    assert resource_of(path) == resource


def test_verbs_are_those_of_rights() -> None:
    manifest = {"metadata": {"name": "qwen", "namespace": "default"}}

    assert verb_of(requests.get(SETS, "default", "qwen")) == "get"
    assert verb_of(requests.list_page(SETS)) == "list"
    assert verb_of(requests.watch(SETS, resource_version="1", timeout_seconds=1)) == "watch"
    assert verb_of(requests.apply(SETS, manifest, manager="us")) == "patch"
    assert verb_of(requests.delete(SETS, "default", "qwen", uid="1")) == "delete"
    assert verb_of(requests.question(SETS, {})) == "create"


def test_series_do_not_grow_with_services() -> None:
    metrics = Metrics()
    for index in range(1000):
        metrics.answered(requests.get(SETS, f"team-{index}", f"svc-{index}"), 200, 0.01)
        metrics.reconciled(0.01, ValueError(f"svc-{index}"))
    text = metrics.text(State(services=by_ready([b"null"] * 1000))).decode()

    assert "svc-" not in text
    assert "team-" not in text
    assert len([line for line in text.splitlines() if line.startswith("fusioninfer_")]) < 100


def test_what_happened_is_counted() -> None:
    metrics = Metrics()
    metrics.reconciled(0.01, None)
    metrics.reconciled(0.02, TimeoutError())
    metrics.answered(requests.list_page(SETS), 429, 0.1)
    metrics.answered(requests.list_page(SETS), 0, 30.0)
    text = metrics.text(State()).decode()

    assert 'fusioninfer_reconciles_total{outcome="done"} 1.0' in text
    assert 'fusioninfer_reconciles_total{outcome="TimeoutError"} 1.0' in text
    assert 'fusioninfer_api_requests_total{code="429",resource="statefulsets",verb="list"} 1.0' in text
    assert 'fusioninfer_api_requests_total{code="0",resource="statefulsets",verb="list"} 1.0' in text


def test_what_is_so_is_shown() -> None:
    state = State(
        queue_depth=3,
        queue_oldest_seconds=1.5,
        leading=True,
        lease_transitions=2,
        caches={"Pod": CacheState(objects=7, relists=1, reconnects=4)},
        services={"True": 5},
        not_ready_longest_seconds=90.0,
    )
    text = Metrics().text(state).decode()

    for line in (
        "fusioninfer_queue_depth 3.0",
        "fusioninfer_queue_oldest_seconds 1.5",
        "fusioninfer_leader 1.0",
        "fusioninfer_leader_transitions_total 2.0",
        'fusioninfer_cache_objects{kind="Pod"} 7.0',
        'fusioninfer_cache_relists_total{kind="Pod"} 1.0',
        'fusioninfer_cache_reconnects_total{kind="Pod"} 4.0',
        'fusioninfer_services{ready="True"} 5.0',
        "fusioninfer_not_ready_longest_seconds 90.0",
    ):
        assert line in text.splitlines()


def test_services_are_counted_by_what_ready_says() -> None:
    def status(ready: str) -> bytes:
        return b'{"conditions": [{"type": "Accepted", "status": "True"}, {"type": "Ready", "status": "%s"}]}' % (
            ready.encode()
        )

    statuses = [status("True"), status("True"), status("False"), status("Unknown"), status("odd"), b"null", b"{}"]

    assert by_ready(statuses) == {"True": 2, "False": 1, "Unknown": 2, "Unreported": 2}


def ready(status: str, since: str = "2026-11-24T11:00:00Z") -> bytes:
    earlier = {"type": "Accepted", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    own = {"type": "Ready", "status": status, "lastTransitionTime": since}
    return json.dumps({"conditions": [earlier, own]}).encode()


@pytest.mark.parametrize(
    ("statuses", "seconds"),
    [
        pytest.param([], 0.0, id="no services"),
        pytest.param([ready("True"), b"null", b"{}"], 0.0, id="none that is known not to be"),
        pytest.param([ready("False")], 3600.0, id="one"),
        pytest.param([ready("Unknown")], 3600.0, id="one of which nobody knows"),
        pytest.param([ready("False", "2026-11-24T11:59:00Z"), ready("False"), ready("True")], 3600.0, id="the first"),
        pytest.param([ready("False", "2026-11-24T12:00:05Z")], 0.0, id="clocks that differ"),
    ],
)
def test_the_service_that_is_not_ready_for_longest_is_timed(statuses: list[bytes], seconds: float) -> None:
    assert not_ready_longest_seconds(statuses, datetime(2026, 11, 24, 12, tzinfo=UTC)) == seconds
