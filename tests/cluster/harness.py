"""A real cluster and the real operator, as tests see them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed import kwok
from tools.operator_process import Kubectl

Manifest = dict[str, Any]

SIMULATOR = "ghcr.io/llm-d/llm-d-inference-sim:v0.10.2"
KWOK = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"operator": "Exists"}],
}
"""Where pods are to go whose containers need not run."""
OWN_NODES = "fusioninfer-test"
"""Label of the played nodes that one namespace has for itself; its value is the namespace."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of one test's own."""

    kubectl: Kubectl
    name: str
    nodes: set[str] = field(default_factory=set)
    """Played nodes that are its own."""

    def __call__(self, *words: str, given: str | None = None) -> str:
        """kubectl within the namespace."""
        return self.kubectl("-n", self.name, *words, given=given)

    def apply(self, *manifests: Manifest) -> None:
        self.kubectl.apply(manifests, "-n", self.name)

    def get(self, kind: str, name: str) -> Manifest:
        found: Manifest = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str, *words: str) -> list[Manifest]:
        items: list[Manifest] = json.loads(self("get", kind, *words, "-o", "json"))["items"]
        return items

    def make_nodes(self, *gpus: int, **labels: str) -> tuple[str, ...]:
        """Played nodes with so many GPUs each; pods get there that ask for OWN_NODES and `labels`, and no others."""
        made = tuple(f"{self.name}-{len(self.nodes) + number}" for number in range(len(gpus)))
        self.nodes.update(made)
        manifests: list[Manifest] = [kwok.node(name, count) for name, count in zip(made, gpus, strict=True)]
        for manifest in manifests:
            manifest["metadata"]["labels"] = {"kubernetes.io/hostname": manifest["metadata"]["name"], **labels}
            manifest["metadata"]["labels"][OWN_NODES] = self.name
        self.kubectl.apply(manifests)
        return made

    def service(self, name: str) -> Manifest:
        return self.get("inferenceservice", name)

    def condition(self, name: str, kind: str) -> Manifest:
        """The condition `kind` of the service `name`; empty if it has none yet."""
        conditions = self.service(name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def wait_ready(self, name: str, seconds: float = 60) -> Manifest:
        """The service `name` once this generation of it is Ready."""
        service: Manifest = self.wait(lambda: self.service(name), _is_ready, f"{name} to be Ready", seconds)
        return service

    def wait_reason(self, name: str, kind: str, reason: str, seconds: float = 60) -> Manifest:
        """The condition `kind` of `name` once its reason is `reason`."""
        condition: Manifest = self.wait(
            lambda: self.condition(name, kind), lambda c: c.get("reason") == reason, f"{name}: {kind}={reason}", seconds
        )
        return condition

    def wait(self, look: Callable[[], Any], good: Callable[[Any], bool], what: str, seconds: float = 30) -> Any:
        """What `look` returns once it is `good`; fails with what was seen last."""
        seen = None
        for _ in _ticks(seconds):
            seen = look()
            if good(seen):
                return seen
        raise AssertionError(f"waited {seconds} s for {what}; last seen: {json.dumps(seen, default=str)[:3000]}")


@contextmanager
def a_namespace(kubectl: Kubectl, words: str) -> Iterator[Namespace]:
    """A namespace that nobody else has, for the time of the block; `words` say what for."""
    name = f"t-{re.sub('[^a-z0-9]+', '-', words.lower())[:40].strip('-')}-{uuid.uuid4().hex[:4]}"
    kubectl("create", "namespace", name)
    mine = Namespace(kubectl, name)
    try:
        yield mine
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
        if mine.nodes:  # after its pods, which nobody would end without it
            mine("delete", "pods", "--all", "--force", "--wait=false")
            kubectl("delete", "nodes", "-l", f"{OWN_NODES}={name}", "--wait=false")


def _ticks(seconds: float, pause: float = 0.2) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(pause)


def _is_ready(service: Manifest) -> bool:
    status = service.get("status", {})
    return status.get("observedGeneration") == service["metadata"]["generation"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions", [])
    )


def a_service(name: str, *, template: Manifest, **role: Any) -> Manifest:
    """A service of one worker."""
    return {
        "apiVersion": "fusioninfer.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"roles": [{"name": "inference", "componentType": "worker", "template": template, **role}]},
    }


def simulator(*args: str, **container: Any) -> Manifest:
    """A template of the simulated engine, on the real node.

    It starts within a second; the probes of who writes none would find out seven seconds later.
    """
    return {
        "spec": {
            "containers": [
                {
                    "name": "engine",
                    "image": SIMULATOR,
                    "args": ["--model", "qwen", "--mode", "echo", "--force-dummy-tokenizer", *args],
                    **OFTEN,
                    **container,
                }
            ]
        }
    }


OFTEN: Manifest = {
    "startupProbe": {
        "httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1, "failureThreshold": 120, "timeoutSeconds": 5,
    },
    "readinessProbe": {
        "httpGet": {"path": "/health/ready", "port": 8000},
        "periodSeconds": 1, "failureThreshold": 15, "timeoutSeconds": 5,
    },
}  # fmt: skip
"""Probes of the simulator that ask more often than those of who writes none, and give up as late."""


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
                    "template": simulator(*args, env=[WHICH_POD]),
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

WHICH_POD: Manifest = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
"""An environment variable with which the simulator says in a header of each answer which pod it is."""


def nothing_runs(**container: Any) -> Manifest:
    """A template whose pods are played on nodes that are none."""
    return {"spec": {"containers": [{"name": "engine", "image": "vllm/vllm-openai:v0.32.0", **container}], **KWOK}}


def a_role(namespace: Namespace, name: str = "inference", nodes: int = 1, gpus: int = 8, **role: Any) -> Manifest:
    """A role of vLLM whose copies have so many `nodes`, on the namespace's own played ones."""
    template = nothing_runs(
        args=["--model", "qwen", "--tensor-parallel-size", str(nodes * gpus)],
        resources={"limits": {"nvidia.com/gpu": gpus}},
    )
    template["spec"] |= {
        "nodeSelector": {OWN_NODES: namespace.name},
        "tolerations": [{"key": kwok.TAINT["key"], "operator": "Exists"}],  # and not that a node is cordoned
        "terminationGracePeriodSeconds": 1,
    }
    several = {"multinode": {"nodeCount": nodes}} if nodes > 1 else {}
    return {"name": name, "componentType": "worker", "template": template, **several, **role}


def a_gang(name: str, *roles: Manifest, **strategy: Any) -> Manifest:
    """A service all of whose pods start together, or none."""
    return {
        "apiVersion": "fusioninfer.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"schedulingStrategy": {"schedulerName": "volcano", **strategy}, "roles": list(roles)},
    }


def asked(namespace: Namespace, name: str) -> tuple[int, list[int]]:
    """How many pods the gang `name` asks for, and how many copies of each role."""
    return asked_by(namespace.get("podgroup", name))


def asked_by(group: Manifest) -> tuple[int, list[int]]:
    """How many pods a PodGroup asks for, and how many copies of each role."""
    spec = group["spec"]
    return spec["minMember"], [part["minSubGroups"] for part in spec["subGroupPolicy"]]


def wait_asked(namespace: Namespace, name: str, pods: int, *copies: int) -> None:
    """Until the gang `name` asks for so many pods, and for so many copies of each role."""
    wanted = (pods, list(copies))
    namespace.wait(lambda: asked(namespace, name), wanted.__eq__, f"the gang to ask for {wanted}")


def address(namespace: Namespace, name: str) -> str:
    """Where the service `name` is reached from this machine."""
    return str(namespace.get("service", name)["spec"]["clusterIP"])


def chat(address: str, question: str, model: str = "qwen", seconds: float = 10) -> str:
    """The greedy answer of the engine behind `address`; raises OSError if there is none."""
    asked = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 24}
    request = urllib.request.Request(
        f"http://{address}/v1/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def chat_or_nothing(address: str, question: str = "hello", model: str = "qwen") -> str:
    """The answer, or nothing if there is none: the kubelet says Ready, and the node's proxy learns of it later."""
    try:
        return chat(address, question, model, seconds=60)
    except OSError:
        return ""


def processes_of(pod: Manifest, container: str) -> list[int]:
    """The process ids, on this machine, of a container that runs."""
    status = pod["status"]
    found = [*status["containerStatuses"], *status.get("initContainerStatuses", ())]
    (its_id,) = (each["containerID"].rpartition("/")[2] for each in found if each["name"] == container)
    mine = [int(cgroup.parent.name) for cgroup in Path("/proc").glob("[0-9]*/cgroup") if its_id in _read(cgroup)]
    assert mine
    return mine


def kill(pod: Manifest, container: str = "engine") -> None:
    """End every process of a container, as a kernel would that is out of memory."""
    for process in processes_of(pod, container):
        with suppress(ProcessLookupError):  # the end of the first is the end of the others
            os.kill(process, signal.SIGKILL)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""


def port_of(log: Path, namespace: Namespace) -> int:
    """Where the operator that writes `log` answers."""

    def served() -> list[int]:
        lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
        return [line["port"] for line in lines if line["event"] == "serving"]

    ports: list[int] = namespace.wait(served, bool, "the operator to serve")
    return ports[-1]


@dataclass(frozen=True, slots=True)
class AuditLog:
    """What the API server was asked, by whom."""

    path: Path

    @contextmanager
    def requests_of(self, user: str) -> Iterator[list[Manifest]]:
        """The requests of `user` that were answered within the block; the list is filled at its end."""
        entries: list[Manifest] = []
        start = self.path.stat().st_size
        yield entries
        time.sleep(0.5)  # the log is written behind the answers
        with self.path.open("rb") as log:
            log.seek(start)
            lines = [json.loads(line) for line in log.read().splitlines() if line.endswith(b"}")]
        entries.extend(line for line in lines if line["user"].get("username") == user)


@contextmanager
def history(namespace: Namespace, kind: str, selector: str = "") -> Iterator[list[Manifest]]:
    """Every change of the objects of `kind` within the block, in order; the list is filled at its end.

    The watch begins at the version of a list that was read before: nothing is missed while it is being opened.
    """
    states: list[Manifest] = []
    kubectl = namespace.kubectl
    path = f"{APIS[kind]}/namespaces/{namespace.name}/{kind}"
    version = json.loads(kubectl("get", "--raw", path))["metadata"]["resourceVersion"]
    query = urllib.parse.urlencode({"watch": "1", "resourceVersion": version, "labelSelector": selector})
    command = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig), "get", "--raw", f"{path}?{query}"]
    with tempfile.TemporaryFile("w+") as output:
        watch = subprocess.Popen(command, stdout=output)
        try:
            yield states
            time.sleep(1)  # the watch is behind
        finally:
            watch.terminate()
            watch.wait()
        output.seek(0)
        states.extend(_documents(output.read()))


APIS = {
    "pods": "/api/v1",
    "podgroups": "/apis/scheduling.volcano.sh/v1beta1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
}


def _documents(text: str) -> Iterator[Manifest]:
    """JSON documents that follow each other; the last may be cut off."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        try:
            document, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            return
        yield document
        text = text[end:]


def is_write(entry: Manifest) -> bool:
    """A write that was carried out, the Lease and Events apart."""
    verb = entry["verb"] not in ("get", "list", "watch")
    kind = entry.get("objectRef", {}).get("resource")
    return verb and kind not in ("leases", "events") and entry.get("responseStatus", {}).get("code", 0) < 300


def is_read(entry: Manifest) -> bool:
    """A read of an object or a list; open watches and the Lease apart."""
    return entry["verb"] in ("get", "list") and entry.get("objectRef", {}).get("resource") != "leases"
