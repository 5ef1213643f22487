"""A service of one worker on the real node: it answers, and when it does not, Ready says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.harness import OFTEN, Manifest, Namespace, a_service, address, chat_or_nothing, simulator

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def test_a_ready_service_answers_at_its_url(namespace: Namespace) -> None:
    """By the probes of who writes none."""
    template = simulator()
    (container,) = template["spec"]["containers"]
    for probe in OFTEN:
        del container[probe]
    namespace.apply(a_service("demo", template=template, replicas=1))

    service = namespace.wait_ready("demo")

    status = service["status"]
    assert status["url"] == f"http://demo.{namespace.name}.svc"
    assert status["components"]["inference"]["phase"] == "Running"
    assert status["components"]["inference"]["readyReplicas"] == 1
    assert "hello" in namespace.wait(lambda: chat_or_nothing(address(namespace, "demo")), bool, "an answer", 10)


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


@pytest.mark.side_by_side
@pytest.mark.parametrize("cause", BROKEN)
def test_ready_says_what_is_wrong_and_heals_when_it_is_mended(cause: str, namespace: Namespace) -> None:
    template, reason, words = BROKEN[cause]
    template["spec"]["terminationGracePeriodSeconds"] = 1  # nobody uses it
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


@pytest.mark.side_by_side
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


def test_the_log_holds_no_traceback(operator: Path) -> None:
    assert "Traceback" not in operator.read_text()
