"""A real vLLM on the CPU: one copy over two pods answers as one pod does, and survives the end of a part of it; and
prefillers hand the KV cache to a decoder, which gives the same answer."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import pytest

from testbed import vllm
from tests.cluster.harness import (
    LIGHT,
    Manifest,
    Namespace,
    a_namespace,
    a_service,
    address,
    chat,
    chat_or_nothing,
    kill,
)
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

QUESTION = "Why is the sky blue?"
TWO_NODES = {"multinode": {"nodeCount": 2}}
SECONDS = 240
"""Three engines load at once on two cores."""


def served(*args: str) -> Manifest:
    """A template of vLLM with the tiny model, that is not given long to end, and is asked often whether it is ready."""
    template: Manifest = vllm.template(*args)
    template["spec"]["terminationGracePeriodSeconds"] = 10
    asks = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1, "timeoutSeconds": 5}
    for probe, attempts in (("startupProbe", SECONDS), ("readinessProbe", 15)):
        template["spec"]["containers"][0][probe] = {**asks, "failureThreshold": attempts}
    return template


@pytest.fixture(scope="module")
def both(installed: Kubectl) -> Iterator[Namespace]:
    """A namespace with one model twice: `alone` in one pod, and `apart` in two."""
    with a_namespace(installed, "real vllm") as namespace:
        namespace.apply(a_service("alone", template=served(), replicas=1))
        namespace.apply(a_service("apart", template=served("--tensor-parallel-size", "2"), replicas=1, **TWO_NODES))
        namespace.wait_ready("alone", SECONDS)
        namespace.wait_ready("apart", SECONDS)
        yield namespace


def answer(namespace: Namespace, name: str) -> str:
    where = address(namespace, name)
    told: str = namespace.wait(lambda: chat_or_nothing(where, QUESTION, vllm.MODEL_NAME), bool, f"{name} to answer")
    return told


def test_two_pods_give_the_answer_of_one(both: Namespace) -> None:
    alone, apart = answer(both, "alone"), answer(both, "apart")

    assert alone
    assert apart == alone


def test_ranks_and_addresses_come_from_leader_worker_set_alone(both: Namespace) -> None:
    leader, worker = both.get("pod", "apart-inference-0"), both.get("pod", "apart-inference-0-1")

    def engine(pod: Manifest) -> Manifest:
        container: Manifest = pod["spec"]["containers"][0]
        return container

    def told(pod: Manifest) -> dict[str, str]:
        return {variable["name"]: variable.get("value", "") for variable in engine(pod)["env"]}

    assert told(leader)["LWS_LEADER_ADDRESS"] == f"apart-inference-0.apart-inference.{both.name}"
    assert (told(leader)["LWS_WORKER_INDEX"], told(worker)["LWS_WORKER_INDEX"]) == ("0", "1")
    assert "--headless" in engine(worker)["args"]
    assert engine(worker)["args"][-7:-1] == [
        "--node-rank", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)", "--master-port", "29501",
    ]  # fmt: skip


def test_a_killed_worker_takes_its_copy_with_it_and_its_last_words_stay(both: Namespace) -> None:
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods_of_apart(both)}

    kill(both.get("pod", "apart-inference-0-1"))

    both.wait(lambda: both.condition("apart", "Ready")["status"], lambda seen: seen == "False", "it to be noticed")
    both.wait(
        lambda: {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods_of_apart(both)},
        lambda now: now.keys() == before.keys() and all(now[name] != before[name] for name in before),
        "both pods to be made anew",
        SECONDS,
    )
    service = both.wait_ready("apart", SECONDS)
    assert answer(both, "apart") == answer(both, "alone")
    failure = service["status"]["components"]["inference"]["lastFailure"]
    assert (failure["pod"], failure["container"], failure["exitCode"]) == ("apart-inference-0-1", "engine", 137)
    assert failure["message"]
    assert both.get("pod", "apart-inference-0-1")["status"]["containerStatuses"][0]["restartCount"] == 0


def pods_of_apart(namespace: Namespace) -> list[Manifest]:
    return namespace.list("pods", "-l", "fusioninfer.io/service=apart")


# --- prefill and decode apart -------------------------------------------------------------------------------------

LONG = " ".join(f"{number} is a number." for number in range(60))
"""Many times the tokens that are worth a prefiller."""
KINDS = {"prefill": "prefiller", "decode": "decoder"}


@pytest.fixture(scope="module")
def sides(both: Namespace) -> Namespace:
    """`both`, and the same model by two prefillers and a decoder: `sides`. `apart` makes way: there are two cores."""
    both("delete", "inferenceservice", "apart", "--ignore-not-found")
    router: Manifest = {"name": "entry", "componentType": "router", "template": LIGHT}
    roles = [
        {"name": name, "componentType": kind, "replicas": 2 if name == "prefill" else 1, "template": served()}
        for name, kind in KINDS.items()
    ]
    service = a_service("sides", template=served())
    both.apply({**service, "spec": {"roles": [router, *roles]}})
    both.wait_ready("sides", SECONDS)
    answer(both, "sides")
    return both


def tokens(namespace: Namespace) -> dict[str, dict[str, int]]:
    """By pod, how many tokens of prompts it has had from where (vllm:prompt_tokens_by_source_total)."""
    pods = namespace.list("pods", "-l", "fusioninfer.io/service=sides,fusioninfer.io/serving=true")
    return {pod["metadata"]["name"]: _sources(pod["status"]["podIP"]) for pod in pods}


def _sources(address: str) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{address}:8000/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'vllm:prompt_tokens_by_source_total\{.*?source="(\w+)".*?\} ([0-9.e+]+)', text)
    return {source: int(float(number)) for source, number in found}


def came(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]], side: str) -> dict[str, int]:
    """What came since then, by source, to the pods of a side."""
    added: dict[str, int] = {}
    for pod, sources in after.items():
        for source, number in sources.items() if pod.startswith(f"sides-{side}-") else ():
            added[source] = added.get(source, 0) + number - before[pod][source]
    return added


def test_a_prompt_is_computed_by_a_prefiller_and_answered_by_the_decoder_as_by_one_engine(sides: Namespace) -> None:
    where, before = address(sides, "sides"), tokens(sides)

    apart = chat(where, LONG, vllm.MODEL_NAME, seconds=60)

    after = tokens(sides)
    assert apart == chat(address(sides, "alone"), LONG, vllm.MODEL_NAME, seconds=60)
    prefill, decode = came(before, after, "prefill"), came(before, after, "decode")
    assert prefill["local_compute"] > 300
    assert decode["external_kv_transfer"] == prefill["local_compute"], (prefill, decode)
    assert decode["local_compute"] == 0, decode


def test_a_short_prompt_stays_with_the_decoder(sides: Namespace) -> None:
    before = tokens(sides)

    chat(address(sides, "sides"), "Hi", vllm.MODEL_NAME, seconds=60)

    after = tokens(sides)
    assert not any(came(before, after, "prefill").values())
    assert came(before, after, "decode")["local_compute"] > 0


def test_without_prefillers_the_decoder_answers_alone_and_the_status_says_so(sides: Namespace) -> None:
    spec = sides.service("sides")["spec"]
    spec["roles"][1]["replicas"] = 0
    sides.apply({**a_service("sides", template=served()), "spec": spec})
    sides.wait_reason("sides", "RouterReady", "DecodersAlone")
    before = tokens(sides)

    assert chat(address(sides, "sides"), f"now {LONG}", vllm.MODEL_NAME, seconds=60)

    assert came(before, tokens(sides), "decode")["local_compute"] > 300
    assert sides.condition("sides", "Available")["status"] == "True"


def test_without_a_router_the_decoder_answers_at_the_same_address(sides: Namespace) -> None:
    where, service = address(sides, "sides"), sides.service("sides")
    decoders = {pod["metadata"]["uid"] for pod in sides.list("pods", "-l", "fusioninfer.io/role=decode")}
    service["spec"]["roles"].pop(0)
    sides.apply({**a_service("sides", template=served()), "spec": service["spec"]})
    sides.wait_reason("sides", "RouterReady", "NotRequested")

    told = sides.wait(lambda: chat_or_nothing(where, LONG, vllm.MODEL_NAME), bool, "an answer")

    assert told == chat(address(sides, "alone"), LONG, vllm.MODEL_NAME, seconds=60)
    assert "nothing sends it any prompts" in sides.condition("sides", "Accepted")["message"]
    assert decoders == {pod["metadata"]["uid"] for pod in sides.list("pods", "-l", "fusioninfer.io/role=decode")}
