"""`make demo`: a cluster on this machine, the operator, a service, and a chat request with its answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import yaml

from fusioninfer.api import names
from fusioninfer.api.types import GROUP, VERSION
from testbed import cluster as testbed_cluster
from testbed import parts as testbed_parts
from testbed import vllm
from tools import in_cluster
from tools.operator_process import Kubectl

EXAMPLE = Path("examples/router.yaml")
SERVICE = "demo"
STATE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fusioninfer" / "demo"
MODELS = {"sim": "qwen", "vllm": vllm.MODEL_NAME, "pd": vllm.MODEL_NAME}
"""The model of each demonstration: simulated engines, a real one, real ones with prefill and decode apart."""
ENGINES = {"sim": "sim", "vllm": "vllm", "pd": "vllm"}
"""The part of the local cluster that it needs."""
ROUTER = ("router", "inference-crds")
"""Parts of the local cluster that a router needs."""
QUESTION = "Who answers here?"
LONG_QUESTION = " ".join(f"{number} is a number." for number in range(40))
"""Worth a prefiller: a short one stays with the decoder."""
MOST_TOKENS = 64  # the tiny model never ends by itself


def say(step: str) -> None:
    print(f"\n== {step}", flush=True)


def up(what: str = "sim") -> None:
    if what not in MODELS:
        sys.exit(f"there is no demonstration {what}; there are {', '.join(MODELS)}")
    engine = ENGINES[what]
    say(f"a Kubernetes node on this machine, with {testbed_parts.PARTS[engine].meaning}")
    subprocess.run([sys.executable, "-m", "testbed", "up", engine, *ROUTER], check=True)
    kubectl = cluster()
    say("the operator: its image, and its chart with two replicas")
    print(in_cluster.helm(kubectl.kubeconfig).install(*in_cluster.load_image()))
    print(kubectl("get", "pods", "-n", in_cluster.NAMESPACE, "-o", "wide"))
    STATE.mkdir(parents=True, exist_ok=True)
    file = example(what)
    say(f"one InferenceService, from {file}")
    print(file.read_text())
    kubectl("apply", "-f", str(file))
    subprocess.run([str(Path(sys.executable).with_name("fusioninfer")), *status_words(kubectl)], check=True)
    question = LONG_QUESTION if what == "pd" else QUESTION
    say(f"a chat request: {question!r}")
    print(chat(kubectl, MODELS[what], question))
    if what == "pd":
        say("where each engine had the prompt's tokens from, by its own metrics")
        print(sources(kubectl))
    say("what to type next")
    print(next_steps(kubectl, file))


def example(what: str) -> Path:
    """The file with the service. vLLM's names a folder of this machine, so that it is written here."""
    if what == "sim":
        return EXAMPLE
    service = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {"name": SERVICE},
        "spec": {"roles": ROLES[what]},
    }
    file = STATE / f"{what}.yaml"
    file.write_text(yaml.safe_dump(service, sort_keys=False))
    return file


ROLES = {
    "vllm": [
        {"name": "inference", "componentType": "worker", "engine": "vllm", "replicas": 1, "template": vllm.template()}
    ],
    "pd": [
        {"name": "entry", "componentType": "router"},
        {"name": "prefill", "componentType": "prefiller", "engine": "vllm", "replicas": 2, "template": vllm.template()},
        {"name": "decode", "componentType": "decoder", "engine": "vllm", "replicas": 1, "template": vllm.template()},
    ],
}


def sources(kubectl: Kubectl) -> str:
    """How many prompt tokens each engine computed itself, and how many came from another one's KV cache."""
    told = []
    pods = json.loads(
        kubectl("get", "pods", "-l", f"{names.SERVICE_LABEL}={SERVICE},{names.SERVING_LABEL}", "-o", "json")
    )
    for pod in pods["items"]:
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8000/metrics", timeout=10) as answer:
            text = answer.read().decode()
        tokens = dict(re.findall(r'vllm:prompt_tokens_by_source_total\{.*?source="(\w+)".*?\} ([0-9.]+)', text))
        told.append(
            f"{pod['metadata']['name']}: " + ", ".join(f"{source} {float(n):.0f}" for source, n in tokens.items())
        )
    return "\n".join(told)


def cluster() -> Kubectl:
    """kubectl for the local cluster."""
    status = testbed_cluster.status()
    return Kubectl(Path(status.kubectl), Path(status.kubeconfig))


def status_words(kubectl: Kubectl) -> list[str]:
    return ["status", SERVICE, "--kubeconfig", str(kubectl.kubeconfig), "--watch", "--until-ready", "--timeout", "180"]


def chat(kubectl: Kubectl, model: str, question: str) -> str:
    """The answer to `question`, from the Service's own address."""
    address = kubectl("get", "service", SERVICE, "-o", "jsonpath={.spec.clusterIP}")
    asked = {"messages": [{"role": "user", "content": question}], "max_tokens": MOST_TOKENS, "temperature": 0}
    body = json.dumps({"model": model, **asked}).encode()
    request = urllib.request.Request(
        f"http://{address}/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    for attempt in range(20):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(json.load(answer)["choices"][0]["message"]["content"])
        except OSError:
            if attempt == 19:
                raise
            time.sleep(0.25)  # Ready is said by the kubelet; this node's proxy learns of it a moment later
    raise AssertionError("unreachable")


def next_steps(kubectl: Kubectl, file: Path) -> str:
    roles = yaml.safe_load(file.read_text())["spec"]["roles"]
    engine = next(role["name"] for role in roles if role["componentType"] != "router")
    return f"""\
export KUBECONFIG={kubectl.kubeconfig} PATH="$PATH:{kubectl.program.parent}:$PWD/.venv/bin"
kubectl get fi {SERVICE}
kubectl explain inferenceservice.spec.roles
kubectl fusioninfer scale {SERVICE} {engine} 3
kubectl fusioninfer status {SERVICE} --watch
kubectl fusioninfer chat {SERVICE}
kubectl fusioninfer render -f {file}
kubectl -n {in_cluster.NAMESPACE} logs -f -l app.kubernetes.io/name=fusioninfer --prefix
make demo-down"""


def down() -> None:
    subprocess.run([sys.executable, "-m", "testbed", "down"], check=True)


if __name__ == "__main__":
    {"up": up, "down": down}[sys.argv[1]](*sys.argv[2:])
