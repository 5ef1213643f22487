"""A service of one worker on the real node: it answers, and when it does not, Ready says why."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.harness import Manifest, Namespace, a_service, simulator

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def address(namespace: Namespace, name: str) -> str:
    return str(namespace.get("service", name)["spec"]["clusterIP"])


def chat(address: str, question: str) -> str:
    """The answer of the engine behind `address`; raises OSError if there is none."""
    body = json.dumps({"model": "qwen", "messages": [{"role": "user", "content": question}]}).encode()
    request = urllib.request.Request(
        f"http://{address}/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_a_ready_service_answers_at_its_url(namespace: Namespace) -> None:
    namespace.apply(a_service("demo", template=simulator(), replicas=1))

    service = namespace.wait_ready("demo")

    status = service["status"]
    assert status["url"] == f"http://demo.{namespace.name}.svc"
    assert status["components"]["inference"]["phase"] == "Running"
    assert status["components"]["inference"]["readyReplicas"] == 1
    assert "hello" in namespace.wait(lambda: _answer(address(namespace, "demo")), bool, "an answer", 10)


def _answer(where: str) -> str:
    try:
        return chat(where, "hello")
    except OSError:
        return ""


CRASHING = {
    "spec": {
        "containers": [
            {
                "name": "engine",
                "image": "fusioninfer.local/pause:1",
                "command": ["/bin/busybox", "sh", "-c", "echo CUDA error: no device >&2; exit 3"],
            }
        ]
    }
}
"""The simulator is of no use here: it ends with exit code 0 whatever is wrong (v0.10.2)."""

BROKEN: dict[str, tuple[Manifest, str, str]] = {
    "an image that cannot be had": (
        {"spec": {"containers": [{"name": "engine", "image": "127.0.0.1:1/none:1", "args": ["--port", "8000"]}]}},
        "(ErrImagePull|ImagePullBackOff)",
        "127.0.0.1:1/none:1",
    ),
    "an engine that crashes": (
        CRASHING,
        "(ContainerCrashed|CrashLoopBackOff)",
        "ended with exit code 3",
    ),
    "a probe that never passes": (
        simulator(readinessProbe={"httpGet": {"path": "/nowhere", "port": 8000}, "periodSeconds": 1}),
        "ReadinessProbeFailing",
        "its readiness probe does not pass",
    ),
    "a pod too large for any node": (
        simulator(resources={"requests": {"memory": "900Gi"}}),
        "Unschedulable",
        "Insufficient memory",
    ),
}


@pytest.mark.parametrize("cause", BROKEN)
def test_ready_says_what_is_wrong_and_heals_when_it_is_mended(cause: str, namespace: Namespace) -> None:
    template, reason, words = BROKEN[cause]
    namespace.apply(a_service("broken", template=template, replicas=1))

    ready = namespace.wait(
        lambda: namespace.condition("broken", "Ready"),
        lambda condition: words in condition.get("message", ""),
        f"Ready to say {words!r}",
    )

    assert ready["status"] == "False"
    assert ready["reason"] in reason
    assert "broken-inference-0" in ready["message"]
    namespace.apply(a_service("broken", template=simulator(), replicas=1))
    namespace.wait_ready("broken")


def test_a_crash_leaves_its_last_words_in_the_status(namespace: Namespace) -> None:
    namespace.apply(a_service("crashing", template=CRASHING, replicas=1))

    failure = namespace.wait(
        lambda: namespace.service("crashing").get("status", {}).get("components", {}).get("inference", {}),
        lambda component: "lastFailure" in component,
        "a last failure",
    )["lastFailure"]

    assert failure["container"] == "engine"
    assert failure["exitCode"] == 3
    assert failure["message"] == "CUDA error: no device"


class Load:
    """Requests, one after the other, until told to stop; what failed is kept."""

    def __init__(self, where: str) -> None:
        self.where, self.answered, self.failures = where, 0, list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                chat(self.where, "hello")
                self.answered += 1
            except (OSError, urllib.error.URLError) as error:
                self.failures.append(f"{time.time()}: {error}")


def test_one_copy_with_a_surge_is_replaced_without_a_failed_request(namespace: Namespace) -> None:
    strategy = {"rollingUpdate": {"maxSurge": 1}}
    namespace.apply(a_service("steady", template=simulator(), replicas=1, rolloutStrategy=strategy))
    namespace.wait_ready("steady")
    where = address(namespace, "steady")
    namespace.wait(lambda: _answer(where), bool, "an answer", 10)
    before = {pod["metadata"]["uid"] for pod in namespace.list("pods")}

    with Load(where) as load:
        template = simulator("--max-num-seqs", "7")
        namespace.apply(a_service("steady", template=template, replicas=1, rolloutStrategy=strategy))
        namespace.wait_ready("steady", 120)
        time.sleep(1)

    (pod,) = namespace.wait(lambda: namespace.list("pods"), lambda pods: len(pods) == 1, "the lent copy to end")
    assert pod["metadata"]["uid"] not in before
    assert "--max-num-seqs" in pod["spec"]["containers"][0]["args"]
    assert load.failures == []
    assert load.answered > 100


def test_the_log_holds_no_traceback(operator: Path) -> None:
    assert "Traceback" not in operator.read_text()
