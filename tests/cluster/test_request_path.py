"""A standalone router on the real node: Service → Envoy → the real Endpoint Picker → simulated engines."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPConnection

import pytest

from fusioninfer.build.router.releases import releases
from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import (
    AuditLog,
    Manifest,
    Namespace,
    a_namespace,
    a_service,
    address,
    chat,
    chat_or_nothing,
    is_write,
    kill,
    routed,
    simulator,
)
from tests.cluster.streams import Stream, read
from tests.cluster.test_roll_outs import Load
from tools.operator_process import Complaint, Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SERVED = re.compile(r"^vllm:request_success_total\{[^}]*\} ([0-9.e+]+)$", re.M)


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


@pytest.mark.side_by_side
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


@pytest.fixture(scope="module")
def shared(installed: Kubectl, operator: object) -> Iterator[Namespace]:
    """A namespace with the service `shared`, which has 8 engines, for tests that leave it as it is."""
    with a_namespace(installed, "shared by tests of the request path") as mine:
        mine.apply(routed("shared", replicas=8))
        yield mine


def test_the_same_prefix_goes_to_the_same_pod_and_others_are_spread(shared: Namespace) -> None:
    where = answers(shared, "shared")
    before = served(shared, "shared")
    prefix = "The quick brown fox jumps over the lazy dog. " * 60

    chat(where, prefix)
    time.sleep(1)
    for number in range(40):
        chat(where, f"{prefix}{number}")
    same = served(shared, "shared") - before
    assert max(same.values()) >= 0.95 * 41, same

    before = served(shared, "shared")
    for number in range(40):
        chat(where, f"{number} {number * 7919} " * 200)
    spread = served(shared, "shared") - before
    assert len(spread) >= 5, spread


@pytest.mark.side_by_side
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


def test_no_header_of_a_client_decides_where_a_request_goes(shared: Namespace) -> None:
    shared.apply(a_service("elsewhere", template=simulator(), replicas=1))
    where = answers(shared, "shared")
    shared.wait_ready("elsewhere")
    elsewhere = shared.list("pods", "-l", "fusioninfer.io/service=elsewhere,fusioninfer.io/serving=true")[0]
    target = f"{elsewhere['status']['podIP']}:8000"
    before = served(shared, "elsewhere").total(), served(shared, "shared").total()

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

    assert (served(shared, "elsewhere").total(), served(shared, "shared").total()) == (before[0], before[1] + 10)


def test_without_its_picker_or_without_an_engine_a_router_says_so_at_once(namespace: Namespace) -> None:
    namespace.apply(routed("blind"))
    where = answers(namespace, "blind")
    (router,) = namespace.list("pods", "-l", "fusioninfer.io/service=blind,fusioninfer.io/component-type=router")
    inside = f"{router['status']['podIP']}:8081"

    kill(router, "epp")
    assert refused(inside, within=2) == 503
    namespace.wait(lambda: chat_or_nothing(where), bool, "an answer by the new picker", 30)

    namespace("delete", "statefulset", "blind-inference", "--cascade=foreground")
    assert refused(inside, within=2) == 503
    namespace.wait_ready("blind", 120)
    namespace.wait(lambda: chat_or_nothing(where), bool, "an answer by the new engine", 30)


def refused(where: str, within: float) -> int:
    """The status with which a request is refused, in so many seconds."""
    started = time.monotonic()
    with pytest.raises(urllib.error.HTTPError) as refusal:
        chat(where, "hello", seconds=30)
    assert time.monotonic() - started < within
    return refusal.value.code


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


@pytest.mark.side_by_side
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


# --- who may do what ------------------------------------------------------------------------------------------------

READ = ("get", "list", "watch")
CHANGE = ("create", "update", "patch", "delete", "deletecollection")


def account(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def rights(kubectl: Kubectl, user: str, namespace: str) -> set[tuple[str, str, str]]:
    """API group, resource and verb of all that `user` may do to objects in `namespace`, by the API server."""
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    review = json.dumps({**kind, "spec": {"namespace": namespace}})
    told = json.loads(kubectl("create", f"--as={user}", "--validate=false", "-f", "-", "-o", "json", given=review))
    return {
        (group, resource, verb)
        for rule in told["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_a_picker_reads_what_it_needs_in_its_own_namespace_and_nobody_elsewhere_may_change_anything(
    shared: Namespace, namespace: Namespace
) -> None:
    kubectl, picker, stranger = shared.kubectl, account(shared.name, "shared-entry"), account(namespace.name, "default")
    shared.wait_ready("shared", 120)
    assert namespace.get("serviceaccount", "default")
    everybody = rights(kubectl, stranger, namespace.name)

    of_pickers = {
        (group, resource, verb)
        for release in releases().values()
        for rule in release.rules
        for group in rule.api_groups
        for resource in rule.resources
        for verb in rule.verbs
    }
    assert rights(kubectl, picker, shared.name) - everybody == of_pickers
    assert {verb for _, _, verb in of_pickers} == set(READ)
    assert rights(kubectl, picker, namespace.name) == everybody
    assert rights(kubectl, stranger, shared.name) == everybody
    assert {(resource, verb) for _, resource, verb in everybody if verb in CHANGE} == {
        (f"self{name}", "create") for name in ("subjectaccessreviews", "subjectrulesreviews", "subjectreviews")
    }

    assert shared.list("pods", f"--as={picker}")
    for user, words in [
        (picker, ("get", "pods", "-n", namespace.name)),
        (picker, ("get", "secrets", "-n", shared.name)),
        (picker, ("delete", "pods", "--all", "-n", shared.name)),
        *((stranger, ("patch", kind, "shared-entry", "-p", "{}", "-n", shared.name)) for kind in (KINDS[0], KINDS[-1])),
    ]:
        with pytest.raises(Complaint, match="Forbidden"):
            kubectl(*words, f"--as={user}")


def test_its_pods_are_let_into_a_namespace_that_is_restricted(shared: Namespace, namespace: Namespace) -> None:
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    spec = shared.get("deployment", "shared-entry")["spec"]["template"]["spec"] | {"serviceAccountName": "default"}

    admitted(namespace, spec)
    with pytest.raises(Complaint, match="violates PodSecurity"):
        admitted(namespace, {name: value for name, value in spec.items() if name != "securityContext"})


def admitted(namespace: Namespace, spec: Manifest) -> None:
    """A pod would be taken; none is made."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asked"}, "spec": spec}
    namespace("create", "--dry-run=server", "-f", "-", given=json.dumps(pod))


# --- adapters -------------------------------------------------------------------------------------------------------

ADAPTERS = ("--max-loras", "1", "--lora-modules", '{"name": "sql"}', '{"name": "chat"}')


@pytest.mark.side_by_side
def test_requests_for_an_adapter_go_where_it_is_loaded(namespace: Namespace) -> None:
    """Each pod is asked for one of them past the router first: of pods that never had any, the picker knows nothing."""
    slowly = ("--inter-token-latency", "100ms", "--max-num-seqs", "8")
    namespace.apply(routed("adapters", strategy="lora-affinity", replicas=2, args=(*slowly, *ADAPTERS)))
    where = answers(namespace, "adapters")
    pods = namespace.list("pods", "-l", "fusioninfer.io/service=adapters,fusioninfer.io/serving=true")
    loaded = dict(zip(("sql", "chat"), pods, strict=True))

    with ThreadPoolExecutor(2) as past_the_router:
        for adapter, pod in loaded.items():
            connection = HTTPConnection(f"{pod['status']['podIP']}:8000", timeout=30)
            past_the_router.submit(read, connection, 30, Stream(), adapter)
        time.sleep(1)  # the picker reads the engines' metrics
        asked = {adapter: Counter(pod_that_answers(where, adapter) for _ in range(8)) for adapter in loaded}

    assert asked == {adapter: {pod["metadata"]["name"]: 8} for adapter, pod in loaded.items()}


def pod_that_answers(where: str, model: str) -> str:
    stream = Stream()
    read(HTTPConnection(where), 1, stream, model)
    assert stream.is_whole, stream
    return stream.pod
