"""Steady streams by prefillers and decoders on the real node, while one side or both change: each comes whole.

The engines are simulated: they speak the protocol of the transfer, and have no cache to hand over (`test_real_vllm`
has). Only what was in a pod that dies may fail.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import pytest

from fusioninfer.api import names
from tests.cluster.harness import LIGHT, WHICH_POD, Manifest, Namespace, kill, simulator
from tests.cluster.streams import Streams
from tests.cluster.test_request_path import answers
from tests.cluster.test_streams import AT_ONCE, SLOWLY, WORDS, Death

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

ROUTER: Manifest = {"name": "entry", "componentType": "router", "template": LIGHT}
SURGE: Manifest = {"rollingUpdate": {"maxSurge": 1}}


def sides(prefillers: int = 1, decoders: int = 1, block: int = 16, **prefill_env: str) -> Manifest:
    """A service of simulated prefillers and decoders; `block` is what makes its KV revision."""
    words = (*SLOWLY, "--block-size", str(block))
    env = [{"name": key, "value": value} for key, value in prefill_env.items()]
    prefill = {"componentType": "prefiller", "replicas": prefillers, "template": engine(*words, env=env)}
    decode = {"componentType": "decoder", "replicas": decoders, "template": engine(*words)}
    roles = [ROUTER, {"name": "prefill", **prefill}, {"name": "decode", "rolloutStrategy": SURGE, **decode}]
    return {
        "apiVersion": "fusioninfer.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "apart"},
        "spec": {"roles": roles, "disaggregation": {"minUncachedPromptTokens": 1}},
    }


def engine(*words: str, env: Iterable[Manifest] = ()) -> Manifest:
    """A template whose pods end within 10 seconds: a prefiller waits for half of it."""
    template = simulator(*words, env=[WHICH_POD, *env])
    template["spec"]["terminationGracePeriodSeconds"] = 10
    return template


def pods(namespace: Namespace, side: str) -> dict[str, Manifest]:
    found = namespace.list("pods", "-l", f"fusioninfer.io/service=apart,fusioninfer.io/role={side}")
    return {pod["metadata"]["name"]: pod for pod in found}


def change(namespace: Namespace, service: Manifest) -> None:
    namespace.apply(service)
    namespace.wait_ready("apart", 120)


def uids(namespace: Namespace, side: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods(namespace, side).values()}


def dies(namespace: Namespace, side: str, container: str) -> Death:
    """A container of the side's first pod is gone at once, and started anew."""
    name, pod = next(iter(pods(namespace, side).items()))
    at = time.time()
    kill(pod, container)
    namespace.wait(lambda: restarts(pods(namespace, side)[name]), lambda count: count > restarts(pod), "a restart", 60)
    told = time.time()
    namespace.wait_ready("apart", 60)
    return Death(name, at, told)


def restarts(pod: Manifest) -> int:
    status = pod["status"]
    return sum(one["restartCount"] for one in (*status["containerStatuses"], *status.get("initContainerStatuses", ())))


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_streams_come_whole_while_the_sides_change(rounds: int, namespace: Namespace) -> None:
    namespace.apply(sides())
    where, block = answers(namespace, "apart"), 16
    deaths: list[Death] = []
    with Streams(where, AT_ONCE, WORDS) as streams:
        for number in range(rounds):
            decoders = uids(namespace, "decode")
            change(namespace, sides(3, 1, block))
            change(namespace, sides(1, 1, block))
            change(namespace, sides(1, 1, block, ROUND=str(number)))
            assert uids(namespace, "decode") == decoders  # what is done to prefillers is none of theirs
            prefillers = uids(namespace, "prefill")
            change(namespace, sides(1, 2, block, ROUND=str(number)))
            deaths.append(dies(namespace, "prefill", "engine"))
            deaths.append(dies(namespace, "decode", "pd-sidecar"))
            change(namespace, sides(1, 1, block, ROUND=str(number)))
            assert uids(namespace, "prefill") == prefillers
            block = 32 if block == 16 else 16
            change(namespace, sides(1, 1, block, ROUND=str(number)))
            namespace.wait_reason("apart", "RouterReady", "Routing")

    revisions = {
        pod["metadata"]["labels"][names.KV_REVISION]
        for side in ("prefill", "decode")
        for pod in pods(namespace, side).values()
    }
    assert len(revisions) == 1
    counts = Counter((stream.status, stream.is_whole) for stream in streams.ended)
    failed = [stream for stream in streams.ended if not stream.is_whole]
    print(f"{counts} streams, {len(deaths)} deaths, {len(failed)} failed by them")
    assert [str(stream) for stream in failed if not any(death.excuses(stream) for death in deaths)] == []
    assert counts[200, True] > 30 * rounds
