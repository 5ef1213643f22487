"""Many gangs that want the same nodes: each starts whole or not yet, and in the end all of them have run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime

import pytest

from tests.cluster.harness import AuditLog, Manifest, Namespace, a_gang, a_role, is_write

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

VOLCANO = "volcano"
"""Who the scheduler is to the API server."""
HALF_STARTED_SECONDS = 5.0


def bindings(requests: Sequence[Manifest], namespace: Namespace) -> dict[str, list[datetime]]:
    """When the pods of each service got their nodes. The names of services have no dash."""
    found: dict[str, list[datetime]] = {}
    for entry in requests:
        reference = entry["objectRef"]
        if is_write(entry) and reference.get("subresource") == "binding" and reference["namespace"] == namespace.name:
            moment = datetime.fromisoformat(entry["requestReceivedTimestamp"])
            found.setdefault(reference["name"].partition("-")[0], []).append(moment)
    return found


def test_two_that_fit_alone_and_not_together_run_one_after_the_other(namespace: Namespace, audit: AuditLog) -> None:
    namespace.make_nodes(*4 * [8])
    with audit.requests_of(VOLCANO) as requests:
        namespace.apply(*(a_gang(name, a_role(namespace, replicas=3)) for name in ("one", "two")))
        namespace.wait(lambda: ready(namespace), bool, "one of them to run")
        (first,) = ready(namespace)
        second = "two" if first == "one" else "one"
        scheduled = namespace.wait(
            lambda: namespace.condition(second, "Scheduled"), lambda c: "1 fit" in c.get("message", ""), "1 of 3 to fit"
        )
        assert (scheduled["status"], scheduled["reason"]) == ("False", "GangInqueue")
        assert "3 pods x 8 nvidia.com/gpu, of which 1 fit; 16 nvidia.com/gpu short" in scheduled["message"]
    assert {name: len(moments) for name, moments in bindings(requests, namespace).items()} == {first: 3}

    namespace("delete", "inferenceservice", first)
    namespace.wait_ready(second)


@pytest.mark.parametrize("services", [8, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_none_is_ever_half_started_and_all_come_to_run(services: int, namespace: Namespace, audit: AuditLog) -> None:
    """They come at once, and one after the other goes that was ready."""
    chance = random.Random(services)
    namespace.make_nodes(*8 * [8])
    sizes = {f"s{number}": (chance.choice((1, 2, 4)), chance.randint(1, 2)) for number in range(services)}
    with audit.requests_of(VOLCANO) as requests:
        namespace.apply(
            *(a_gang(name, a_role(namespace, nodes=n, replicas=copies)) for name, (n, copies) in sizes.items())
        )
        for left in range(services, 0, -1):
            runs = namespace.wait(lambda: ready(namespace), bool, f"one of the last {left} to run", 60)
            namespace.wait(lambda: half_started(namespace), [].__eq__, "the others to be whole", HALF_STARTED_SECONDS)
            namespace("delete", "inferenceservice", chance.choice(runs))

    bound = bindings(requests, namespace)
    assert {name: len(moments) for name, moments in bound.items()} == {name: n * c for name, (n, c) in sizes.items()}
    took = {name: (max(moments) - min(moments)).total_seconds() for name, moments in bound.items()}
    assert max(took.values()) <= HALF_STARTED_SECONDS, took


def half_started(namespace: Namespace) -> list[str]:
    """The services that have nodes for some of their pods and not for others."""
    found: dict[str, set[bool]] = {}
    for pod in namespace.list("pods"):
        if "deletionTimestamp" not in pod["metadata"]:
            found.setdefault(pod["metadata"]["labels"]["fusioninfer.io/service"], set()).add("nodeName" in pod["spec"])
    return [name for name, has in found.items() if has == {True, False}]


def ready(namespace: Namespace) -> list[str]:
    """The services that are Ready."""
    return [
        service["metadata"]["name"]
        for service in namespace.list("inferenceservices")
        for condition in service.get("status", {}).get("conditions", ())
        if (condition["type"], condition["status"]) == ("Ready", "True")
    ]
