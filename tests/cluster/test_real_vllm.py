"""A real vLLM on the CPU: one copy over two pods answers as one pod does, and survives the end of a part of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import vllm
from tests.cluster.harness import Manifest, Namespace, a_namespace, a_service, address, chat_or_nothing, kill
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

QUESTION = "Why is the sky blue?"
TWO_NODES = {"multinode": {"nodeCount": 2}}
SECONDS = 240
"""Three engines load at once on two cores."""


def served(*args: str) -> Manifest:
    """A template of vLLM with the tiny model, that is not given long to end."""
    template: Manifest = vllm.template(*args)
    template["spec"]["terminationGracePeriodSeconds"] = 20
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
