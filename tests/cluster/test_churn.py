"""Services that come, change and go at random, for a while: in the end what is there is what was asked for."""

from __future__ import annotations

import random
import time

import pytest

from tests.cluster.harness import Manifest, Namespace, a_service, nothing_runs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SERVICES = 10


@pytest.mark.parametrize("seconds", [15, pytest.param(1800, marks=[pytest.mark.soak, pytest.mark.timeout(2400)])])
def test_after_any_churn_everything_is_as_it_was_asked_for(seconds: int, namespace: Namespace) -> None:
    chance = random.Random(seconds)
    wanted: dict[str, Manifest] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        change_one(namespace, wanted, chance)

    for name in wanted:
        namespace.wait_ready(name, 120)
    sets = namespace.wait(
        lambda: {live["metadata"]["name"]: live["spec"]["replicas"] for live in namespace.list("statefulsets")},
        lambda there: there == expected(wanted),
        f"the StatefulSets {expected(wanted)}",
    )
    assert sets == expected(wanted)
    assert {live["metadata"]["name"] for live in namespace.list("services")} == set(wanted)


def change_one(namespace: Namespace, wanted: dict[str, Manifest], chance: random.Random) -> None:
    """Make, change or delete one service."""
    name = f"churn-{chance.randrange(SERVICES)}"
    if name in wanted and chance.random() < 0.3:
        namespace("delete", "inferenceservice", name, "--wait=false")
        namespace.wait(
            lambda: {live["metadata"]["name"] for live in namespace.list("inferenceservices")},
            lambda there: name not in there,
            f"{name} to be gone",
        )
        del wanted[name]
        return
    args = [f"--seed={chance.randrange(3)}"]
    service = a_service(name, template=nothing_runs(args=args), replicas=chance.randrange(4))
    service["spec"]["roles"][0]["name"] = chance.choice(["one", "other"])
    namespace.apply(service)
    wanted[name] = service


def expected(wanted: dict[str, Manifest]) -> dict[str, int]:
    """The StatefulSets of the services, with their sizes."""
    roles = {name: service["spec"]["roles"][0] for name, service in wanted.items()}
    return {f"{name}-{role['name']}": role["replicas"] for name, role in roles.items()}
