"""Steady streams through a router on the real node while everything changes: each of them comes whole.

Only an engine that dies takes with it what it streams.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import cycle

import pytest

from tests.cluster.harness import Manifest, Namespace, kill, routed
from tests.cluster.streams import Stream, Streams
from tests.cluster.test_request_path import answers
from tests.cluster.test_roll_outs import Load

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SLOWLY = ("--inter-token-latency", "100ms", "--max-num-seqs", "16")
WORDS = range(10, 17)
"""At SLOWLY a stream takes from 1 to 1.6 seconds. Longer ones may be cut by a router that ends: of its 20 seconds 15
are for answers, and a client's connection is used for 10, for the answer that is under way then, and for one more."""
AT_ONCE = 4
HEARD_SECONDS = 1.0
"""From what the API server knows to the picker's decisions, on a machine that has much to do."""


@dataclass(slots=True)
class Death:
    """Of an engine; and which streams may fail by it."""

    pod: str
    at: float
    told: float
    """When the API server knew."""

    def excuses(self, stream: Stream) -> bool:
        """It had begun there; or the picker sent it there and could not know."""
        if stream.ended < self.at:
            return False
        if stream.pod:
            return stream.pod == self.pod and stream.began <= self.at + HEARD_SECONDS
        return stream.status == 503 and stream.began <= self.told + HEARD_SECONDS


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_streams_come_whole_while_everything_changes(rounds: int, namespace: Namespace) -> None:
    """A round takes some 20 seconds."""
    service = routed("steady", replicas=2, args=SLOWLY)
    entry, inference = service["spec"]["roles"]
    namespace.apply(service)
    where = answers(namespace, "steady")
    strategies, deaths = cycle(["kv-cache-utilization", "queue-size"]), list[Death]()
    loads = list[Load]()

    with Streams(where, AT_ONCE, WORDS) as streams:
        for number in range(rounds):
            with Load(where) as load:
                entry["strategy"] = next(strategies)
                change(namespace, service)
                inference["replicas"] = 3
                change(namespace, service)
            loads.append(load)
            deaths.append(evicted(namespace, streams) if number % 2 else crashed(namespace, streams))
            with Load(where) as load:
                inference["replicas"] = 2
                change(namespace, service)
                namespace.wait(lambda: pods(namespace, "router"), lambda routers: len(routers) == 1, "one router", 60)
            loads.append(load)

    counts = Counter((stream.status, stream.is_whole) for stream in streams.ended)
    print(f"{counts} streams, {sum(load.answered for load in loads)} short answers, {len(deaths)} deaths")
    failed = [stream for stream in streams.ended if not stream.is_whole]
    assert [str(stream) for stream in failed if not any(death.excuses(stream) for death in deaths)] == []
    assert [failure for load in loads for failure in load.failures] == []
    assert deaths[0].pod in {stream.pod for stream in failed}
    assert counts[200, True] > 30 * rounds
    assert min(load.answered for load in loads) > 5


def change(namespace: Namespace, service: Manifest) -> None:
    namespace.apply(service)
    namespace.wait_ready("steady", 120)


def pods(namespace: Namespace, component: str) -> list[Manifest]:
    return namespace.list("pods", "-l", f"fusioninfer.io/service=steady,fusioninfer.io/component-type={component}")


def at_work(namespace: Namespace, streams: Streams) -> Manifest:
    """The engine that has begun the latest stream."""
    latest: Stream = namespace.wait(streams.latest, bool, "a stream that is under way")
    return namespace.get("pod", latest.pod)


def crashed(namespace: Namespace, streams: Streams) -> Death:
    """An engine's process is gone at once, as by a fault of its GPU; its container starts anew."""
    pod = at_work(namespace, streams)
    name, at = pod["metadata"]["name"], time.time()
    kill(pod)
    namespace.wait(lambda: restarts(namespace, name), lambda count: count > restarts_of(pod), "a restart", 120)
    told = time.time()
    namespace.wait(lambda: namespace.get("pod", name), is_ready, f"{name} to be Ready", 120)
    return Death(name, at, told)


def evicted(namespace: Namespace, streams: Streams) -> Death:
    """An engine's pod is told to go within a second."""
    pod = at_work(namespace, streams)
    name = pod["metadata"]["name"]
    namespace("delete", "pod", name, "--grace-period=1", "--wait=false")
    at = time.time()

    def is_another(now: Manifest) -> bool:
        return bool(now) and now["metadata"]["uid"] != pod["metadata"]["uid"] and is_ready(now)

    namespace.wait(lambda: by_name(namespace, name), is_another, f"another {name}", 120)
    return Death(name, at, at)


def by_name(namespace: Namespace, name: str) -> Manifest:
    """The pod, if there is one just now."""
    return next((pod for pod in pods(namespace, "worker") if pod["metadata"]["name"] == name), {})


def restarts(namespace: Namespace, name: str) -> int:
    return restarts_of(by_name(namespace, name))


def restarts_of(pod: Manifest) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def is_ready(pod: Manifest) -> bool:
    return ("Ready", "True") in {(c["type"], c["status"]) for c in pod["status"]["conditions"]}
