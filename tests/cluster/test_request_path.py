"""A standalone router on the real node: Service → Envoy → the real Endpoint Picker → simulated engines."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

import pytest

from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import AuditLog, Manifest, Namespace, address, chat, chat_or_nothing, is_write, simulator
from tests.cluster.test_roll_outs import Load

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SERVED = re.compile(r"^vllm:request_success_total\{[^}]*\} ([0-9.e+]+)$", re.M)


def routed(name: str, *, strategy: str = "prefix-cache", replicas: int = 1, args: tuple[str, ...] = ()) -> Manifest:
    """A service of simulated engines behind a router."""
    return {
        "apiVersion": "fusioninfer.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "roles": [
                {"name": "entry", "componentType": "router", "strategy": strategy, "template": LIGHT},
                {
                    "name": "inference", "componentType": "worker", "replicas": replicas,
                    "template": simulator(*args),
                },
            ]
        },
    }  # fmt: skip


LIGHT: Manifest = {
    "spec": {
        "terminationGracePeriodSeconds": 20,
        "containers": [
            {"name": name, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}} for name in ("epp", "envoy")
        ],
    }
}
"""The node has two cores."""


def answers(namespace: Namespace, name: str) -> str:
    """Where `name` is reached, once it answers."""
    namespace.wait_ready(name, 120)
    where = address(namespace, name)
    namespace.wait(lambda: chat_or_nothing(where), bool, "an answer", 20)
    return where


def served(namespace: Namespace, name: str) -> Counter[str]:
    """How many requests each engine pod has answered, by its own metrics."""
    pods = namespace.list("pods", "-l", f"fusioninfer.io/service={name},fusioninfer.io/serving=true")
    return Counter({pod["metadata"]["name"]: _served_by(pod["status"]["podIP"]) for pod in pods})


def _served_by(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}:8000/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return sum(int(float(value)) for value in SERVED.findall(text))


def test_a_request_goes_by_the_picker_to_an_engine(namespace: Namespace, audit: AuditLog) -> None:
    with audit.requests_of(OPERATOR) as requests:
        namespace.apply(routed("first"))
        namespace.wait_ready("first", 120)
    where = answers(namespace, "first")

    assert chat(where, "hello") == "hello"
    assert namespace.condition("first", "RouterReady")["reason"] == "Routing"
    assert namespace.service("first")["status"]["components"]["entry"]["readyReplicas"] == 1
    writes = [entry for entry in requests if is_write(entry) and entry["objectRef"].get("namespace") == namespace.name]
    # Reasons are told every 2 s: a machine so slow that a router takes longer hears of them in between.
    moments = sorted(datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in writes)
    in_between = (moments[-1] - moments[0]).total_seconds() // 2
    assert len(writes) <= 9 + in_between, Counter(f"{e['verb']} {e['objectRef']['resource']}" for e in writes)
    children = [entry for entry in writes if entry["objectRef"]["resource"] != "inferenceservices"]
    assert len(children) == 7

    time.sleep(11)  # counts that moved last are told 10 s after what was told before
    with audit.requests_of(OPERATOR) as requests:
        time.sleep(5)
    at_rest = [entry for entry in requests if is_write(entry) and entry["objectRef"].get("name") == "first"]
    assert at_rest == []


def test_the_same_prefix_goes_to_the_same_pod_and_others_are_spread(namespace: Namespace) -> None:
    namespace.apply(routed("prefixes", replicas=8))
    where = answers(namespace, "prefixes")
    before = served(namespace, "prefixes")
    shared = "The quick brown fox jumps over the lazy dog. " * 60

    chat(where, shared)
    time.sleep(1)
    for number in range(40):
        chat(where, f"{shared}{number}")
    same = served(namespace, "prefixes") - before
    assert max(same.values()) >= 0.95 * 41, same

    before = served(namespace, "prefixes")
    for number in range(40):
        chat(where, f"{number} {number * 7919} " * 200)
    spread = served(namespace, "prefixes") - before
    assert len(spread) >= 5, spread


def test_a_loaded_pod_is_avoided_by_queue_size(namespace: Namespace) -> None:
    slow = ("--time-to-first-token", "3s", "--max-num-seqs", "1")
    namespace.apply(routed("queues", strategy="queue-size", replicas=2, args=slow))
    where = answers(namespace, "queues")
    pods = namespace.list("pods", "-l", "fusioninfer.io/service=queues,fusioninfer.io/serving=true")
    loaded, other = (pod["status"]["podIP"] for pod in pods)

    with ThreadPoolExecutor(5) as direct:
        waiting = [direct.submit(chat, f"{loaded}:8000", "x", "qwen", 60) for _ in range(5)]
        time.sleep(1)
        before = _served_by(other)
        for _ in range(2):
            chat(where, "hello", seconds=30)
        assert _served_by(other) - before == 2
        for request in waiting:
            request.result()


SPOOFED = {
    "x-gateway-destination-endpoint": "{elsewhere}",
    "x-gateway-destination-endpoint-subset": "{elsewhere}",
    "x-prefiller-host-port": "{elsewhere}",
}


def test_no_header_of_a_client_decides_where_a_request_goes(namespace: Namespace) -> None:
    namespace.apply(routed("spoofed"), routed("elsewhere"))
    where = answers(namespace, "spoofed")
    answers(namespace, "elsewhere")
    elsewhere = namespace.list("pods", "-l", "fusioninfer.io/service=elsewhere,fusioninfer.io/serving=true")[0]
    target = f"{elsewhere['status']['podIP']}:8000"
    before = served(namespace, "elsewhere").total(), served(namespace, "spoofed").total()

    for _ in range(10):
        asked = {"model": "qwen", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        headers = {name: value.format(elsewhere=target) for name, value in SPOOFED.items()}
        request = urllib.request.Request(
            f"http://{where}/v1/chat/completions",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    assert (served(namespace, "elsewhere").total(), served(namespace, "spoofed").total()) == (before[0], before[1] + 10)


def test_without_its_picker_a_router_says_so_at_once(namespace: Namespace) -> None:
    namespace.apply(routed("blind"))
    where = answers(namespace, "blind")
    pod = namespace.list("pods", "-l", "fusioninfer.io/service=blind,fusioninfer.io/component-type=router")[0]
    inside = f"{pod['status']['podIP']}:8081"

    namespace("delete", "statefulset", "blind-inference", "--cascade=foreground")
    for _ in range(5):
        started = time.monotonic()
        with suppress(urllib.error.HTTPError, OSError):
            chat(inside, "hello", seconds=30)
        assert time.monotonic() - started < 12
    namespace.wait_ready("blind", 120)
    namespace.wait(lambda: chat_or_nothing(where), bool, "an answer from the new engine", 30)


@pytest.mark.parametrize("strategy", ["kv-cache-utilization", "queue-size"])
def test_each_strategy_is_taken_by_the_real_picker(strategy: str, namespace: Namespace) -> None:
    namespace.apply(routed("taken", strategy=strategy))

    assert chat(answers(namespace, "taken"), "hello") == "hello"


def test_nothing_is_lost_while_everything_changes(namespace: Namespace) -> None:
    service = routed("steady", replicas=2)
    namespace.apply(service)
    where = answers(namespace, "steady")
    entry, inference = service["spec"]["roles"]

    with Load(where) as load:
        entry["strategy"] = "queue-size"
        namespace.apply(service)
        namespace.wait_ready("steady", 120)
        inference["replicas"] = 3
        namespace.apply(service)
        namespace.wait_ready("steady", 120)
        inference["replicas"] = 1
        namespace.apply(service)
        namespace.wait_ready("steady", 120)
        time.sleep(8)

    assert load.failures == []
    assert load.answered > 100


def test_a_router_that_is_added_moves_no_client_before_it_answers(namespace: Namespace) -> None:
    service = routed("added")
    entry = service["spec"]["roles"].pop(0)
    namespace.apply(service)
    where = answers(namespace, "added")

    with Load(where) as load:
        service["spec"]["roles"].insert(0, entry)
        namespace.apply(service)
        namespace.wait_ready("added", 120)
        selector = namespace.get("service", "added")["spec"]["selector"]
        assert selector["fusioninfer.io/component-type"] == "router"
        time.sleep(3)
        service["spec"]["roles"].pop(0)
        namespace.apply(service)
        namespace.wait_ready("added", 120)
        time.sleep(3)

    assert load.failures == []
    assert threading.active_count() < 50
    assert namespace.list("deployments") == []


def strangers(name: str) -> list[Manifest]:
    """An object of somebody else's with each name that a router's have."""
    metadata = {"name": name}
    labels = {"app": "web"}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"}
    pool = {
        "selector": {"matchLabels": labels},
        "targetPorts": [{"number": 1}],
        "endpointPickerRef": {"name": "web", "port": {"number": 1}},
    }
    selecting = {"selector": {"matchLabels": labels}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 1}]}},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": selecting},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
         "spec": {"replicas": 0, **selecting, "template": pods}},
        {"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": metadata, "spec": pool},
    ]  # fmt: skip


KINDS = ("serviceaccount", "rolebinding", "service", "poddisruptionbudget", "deployment", "inferencepool")


def test_strangers_with_a_routers_names_are_left_alone_and_its_own_go_with_it(namespace: Namespace) -> None:
    namespace.apply(*strangers("taken-entry"))
    before = {kind: namespace.get(kind, "taken-entry")["metadata"]["uid"] for kind in KINDS}
    service = routed("taken")
    service["spec"]["roles"][0]["replicas"] = 2
    namespace.apply(service)

    told = namespace.wait_reason("taken", "Accepted", "NameConflict")
    assert "'taken-entry' belongs to somebody else" in told["message"]
    assert {kind: namespace.get(kind, "taken-entry")["metadata"]["uid"] for kind in KINDS} == before

    for kind in KINDS:
        namespace("delete", kind, "taken-entry")
    namespace.wait_ready("taken", 120)
    assert namespace.service("taken")["status"]["components"]["entry"]["readyReplicas"] == 2

    service["spec"]["roles"].pop(0)
    namespace.apply(service)
    of_ours = ("-l", "fusioninfer.io/component-type=router", "-o", "name")
    namespace.wait(lambda: namespace("get", ",".join(KINDS), *of_ours), lambda names: not names, "all of it to go", 60)
