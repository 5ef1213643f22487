"""A new image rolls over the copies of a role while requests go on, on the real node."""

from __future__ import annotations

import dataclasses
import threading
import time
import urllib.error
from typing import Self

import pytest

from testbed import images
from tests.cluster.harness import SIMULATOR, Manifest, Namespace, a_service, address, chat, chat_or_nothing, simulator

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

NEXT = "fusioninfer.local/llm-d-inference-sim:next"


@pytest.fixture(scope="module")
def next_image(installed: object) -> str:
    """The simulator under another name."""
    images.load(dataclasses.replace(images.simulator(), name=NEXT))
    return NEXT


class Beside:
    """Does `step` again and again beside the block, with `pause` seconds in between."""

    pause = 0.02

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.pause):
            self.step()

    def step(self) -> None:
        raise NotImplementedError


class Load(Beside):
    """Requests, one after the other; what failed is kept."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.answered, self.failures = where, 0, list[str]()

    def step(self) -> None:
        started = time.time()
        try:
            # What is lost has no answer after a minute either; what a machine held up that stood still has.
            chat(self.where, "hello", seconds=60)
            self.answered += 1
        except (OSError, urllib.error.URLError) as error:
            self.failures.append(f"asked at {started:.3f}, for {time.time() - started:.3f} s: {error!r}")


class Serving(Beside):
    """How many pods were in the Service, as often as it could be asked."""

    pause = 0.05

    def __init__(self, namespace: Namespace, name: str) -> None:
        super().__init__()
        self.namespace, self.name, self.seen = namespace, name, list[int]()

    def step(self) -> None:
        of_the_service = f"kubernetes.io/service-name={self.name}"
        slices = self.namespace.list("endpointslices.discovery.k8s.io", "-l", of_the_service)
        endpoints = [endpoint for slice_ in slices for endpoint in slice_["endpoints"] or ()]
        self.seen.append(sum(endpoint["conditions"]["ready"] for endpoint in endpoints))


PAUSE: Manifest = {
    "spec": {"containers": [{"name": "engine", "image": images.PAUSE}], "terminationGracePeriodSeconds": 1}
}
"""It does not hear SIGTERM, and a copy is replaced only when all of it is gone."""
NODES: dict[int, Manifest] = {1: {}, 2: {"engine": "custom", "multinode": {"nodeCount": 2, "workerTemplate": PAUSE}}}
"""The simulator knows no ranks: the second node of a copy only has to be there."""
SURGE = {"rolloutStrategy": {"rollingUpdate": {"maxSurge": 1}}}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize(
    ("replicas", "strategy", "least"),
    [pytest.param(1, SURGE, 1, id="one copy and a surge"), pytest.param(3, {}, 2, id="three copies")],
)
def test_a_new_image_takes_nobody_away_who_is_needed(
    nodes: int, replicas: int, strategy: Manifest, least: int, next_image: str, namespace: Namespace
) -> None:
    service = a_service("steady", template=simulator(), replicas=replicas, **strategy, **NODES[nodes])
    namespace.apply(service)
    namespace.wait_ready("steady")
    where = address(namespace, "steady")
    namespace.wait(lambda: chat_or_nothing(where), bool, "an answer", 10)
    before = {pod["metadata"]["uid"] for pod in namespace.list("pods")}

    with Load(where) as load, Serving(namespace, "steady") as serving:
        service["spec"]["roles"][0]["template"] = simulator(image=next_image)
        namespace.apply(service)
        namespace.wait_ready("steady", 180)
        time.sleep(5)  # and while old copies leave

    pods: list[Manifest] = namespace.wait(
        lambda: namespace.list("pods"), lambda pods: len(pods) == replicas * nodes, "old copies to end", 90
    )
    assert not before & {pod["metadata"]["uid"] for pod in pods}
    images_now = {pod["spec"]["containers"][0]["image"] for pod in pods}
    assert SIMULATOR not in images_now
    assert next_image in images_now
    assert load.failures == []
    assert load.answered > 100
    assert min(serving.seen) >= least
    assert len(serving.seen) > 20
