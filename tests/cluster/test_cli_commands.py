"""The command line against a real cluster: why something does not run, and what a person does then."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from fusioninfer.cli.causes import Class
from tests.cluster.commands import Done, fusioninfer, typed
from tests.cluster.harness import Manifest, Namespace, a_service, nothing_runs, routed, simulator

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def explained(namespace: Namespace, name: str) -> Done:
    """What `explain` says of a service that is not ready; its first line is what Ready says."""
    done = fusioninfer(namespace, "explain", name)
    assert done.stdout.splitlines()[0] == namespace.condition(name, "Ready")["message"], done.stderr
    return done


def words(done: Done) -> str:
    """What was printed, whatever the width of its columns."""
    return " ".join(done.stdout.split())


# --- why ----------------------------------------------------------------------------------------------------------


def test_a_wrong_image_is_explained(namespace: Namespace) -> None:
    template = simulator()
    template["spec"]["containers"][0] |= {"image": "nowhere.invalid/no/such:image", "imagePullPolicy": "Always"}
    namespace.apply(a_service("wrong", template=template, replicas=1))
    namespace.wait(
        lambda: namespace.condition("wrong", "Ready").get("reason"),
        {"ErrImagePull", "ImagePullBackOff"}.__contains__,
        "it",
    )

    done = explained(namespace, "wrong")

    assert done.returncode == Class.IMAGE
    assert "nowhere.invalid/no/such:image" in done.stdout
    assert "event Pod wrong-inference-0" in words(done)
    assert done.stdout.splitlines()[-1] == (
        f"next: kubectl -n {namespace.name} --kubeconfig {namespace.kubectl.kubeconfig} edit inferenceservice wrong"
        "   # spec.roles[0].template.spec.containers[0].image"
    )


def test_too_many_gpus_are_explained(namespace: Namespace) -> None:
    template = nothing_runs(resources={"limits": {"nvidia.com/gpu": 999}})
    namespace.apply(a_service("large", template=template, replicas=1))
    namespace.wait_reason("large", "Ready", "Unschedulable")

    done = explained(namespace, "large")

    assert done.returncode == Class.CAPACITY
    assert "Insufficient nvidia.com/gpu" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("next: kubectl get nodes")
    shown = namespace.kubectl(*done.stdout.splitlines()[-1].partition("   #")[0].split()[2:4], "-o", _columns(done))
    assert "HAS" in shown.splitlines()[0]


def _columns(done: Done) -> str:
    """What stands in quotes in the last line."""
    return done.stdout.splitlines()[-1].split("'")[1]


def test_a_crash_is_explained_and_its_log_is_one_command_away(namespace: Namespace) -> None:
    namespace.apply(a_service("crashing", template=simulator("--no-such-flag"), replicas=1))
    namespace.wait(
        lambda: namespace.condition("crashing", "Ready").get("reason"),
        {"ContainerCrashed", "CrashLoopBackOff"}.__contains__,
        "it to crash",
    )
    namespace.wait_reason("crashing", "Ready", "CrashLoopBackOff")

    done = explained(namespace, "crashing")

    assert done.returncode == Class.CRASH
    assert "failure crashing-inference-0/engine" in words(done)
    next_step = done.stdout.splitlines()[-1].removeprefix("next: fusioninfer ").split()
    log = fusioninfer(namespace, *next_step[:4])
    assert log.returncode == 0, log.stderr
    assert "no-such-flag" in log.stdout


# --- what a person does -------------------------------------------------------------------------------------------


def test_somebody_talks_to_a_service_reads_its_log_and_scales_it(namespace: Namespace) -> None:
    namespace.apply(a_service("talking", template=simulator(), roleReplicas=1))
    namespace.wait_ready("talking")

    assert fusioninfer(namespace, "chat", "talking", "-m", "who is there?").stdout == "who is there?\n"
    conversation = fusioninfer(namespace, "chat", "talking", given="a question that is read\n")
    assert conversation.stdout == "a question that is read\n", conversation.stderr
    assert typed(namespace, "first\n\nsecond\n\x04", "chat", "talking") == "> first\n> > second\n> "
    wrong = fusioninfer(namespace, "chat", "talking", "-m", "hello", "--model", "nobody")
    assert wrong.returncode == 1
    assert "nobody" in wrong.stderr

    scaled = fusioninfer(namespace, "scale", "talking", "inference", "2")
    assert scaled.stdout == "talking, role inference: roleReplicas 1 → 2\n", scaled.stderr
    namespace.wait_ready("talking")
    assert namespace.service("talking")["spec"]["roles"][0]["roleReplicas"] == 2

    log = fusioninfer(namespace, "logs", "talking", "inference", "--tail", "1").stdout.splitlines()
    assert [line.split()[0] for line in log] == ["talking-inference-0", "talking-inference-1"]


def test_a_role_without_a_number_is_scaled_at_its_workload(namespace: Namespace) -> None:
    namespace.apply(a_service("one", template=nothing_runs()), a_service("given", template=nothing_runs(), replicas=1))
    namespace.wait_ready("one")

    done = fusioninfer(namespace, "scale", "one", "inference", "3")
    assert done.stdout.startswith("one, role inference: StatefulSet one-inference 1 → 3;"), done.stderr
    assert namespace.get("statefulset", "one-inference")["spec"]["replicas"] == 3
    assert "replicas" not in namespace.service("one")["spec"]["roles"][0]

    assert fusioninfer(namespace, "scale", "given", "inference", "0").stdout.endswith("replicas 1 → 0\n")
    refused = fusioninfer(namespace, "scale", "given", "inference", "100001")
    assert refused.returncode == 2
    assert "100000" in refused.stderr
    assert fusioninfer(namespace, "scale", "given", "nobody", "1").stderr == (
        "service given has no role nobody; there are inference\n"
    )


def test_a_log_is_followed_until_its_container_ends(namespace: Namespace) -> None:
    template: Manifest = simulator()
    namespace.apply(a_service("followed", template=template, replicas=1))
    namespace.wait_ready("followed")
    namespace("delete", "pod", "followed-inference-0", "--wait=false")

    done = fusioninfer(namespace, "logs", "followed", "--follow", seconds=90)

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_router_is_what_one_talks_to(namespace: Namespace) -> None:
    namespace.apply(routed("led"))
    namespace.wait_ready("led", 120)

    assert fusioninfer(namespace, "chat", "led", "-m", "by way of the router").stdout == "by way of the router\n"
    assert fusioninfer(namespace, "logs", "led", "entry", "--tail", "2").stdout
    tree = fusioninfer(namespace, "status", "led").stdout
    assert "entry  router  Running  1/1 copies ready" in tree
    assert "Deployment led-entry" in tree


# --- before it is applied -----------------------------------------------------------------------------------------


def test_diff_says_what_a_file_would_change_and_writes_nothing(namespace: Namespace) -> None:
    before = a_service("changed", template=nothing_runs(resources={"limits": {"nvidia.com/gpu": 1}}), replicas=1)
    new = fusioninfer(namespace, "diff", "-f", "-", given=json.dumps(before))
    assert (new.returncode, new.stderr) == (1, "")
    assert "+ create StatefulSet changed-inference" in new.stdout
    assert "devices asks for 1 nvidia.com/gpu (1 pod x 1), holds 0 now;" in words(new)

    namespace.apply(before)
    namespace.wait_ready("changed")
    same = fusioninfer(namespace, "diff", "-f", "-", given=json.dumps(before))
    assert (same.returncode, same.stdout.splitlines()[0]) == (0, f"{namespace.name}/changed  no change"), same.stdout
    assert "holds 1 now" in same.stdout

    after = copy.deepcopy(before)
    container = after["spec"]["roles"][0]["template"]["spec"]["containers"][0]
    container["image"] = "vllm/vllm-openai:v0.33.0"
    container["resources"] = {"limits": {"nvidia.com/gpu": "1000m"}}
    changed = fusioninfer(namespace, "diff", "-f", "-", given=json.dumps(after))
    assert changed.returncode == 1
    assert changed.stdout.splitlines()[1:5] == [
        "  ~ change StatefulSet changed-inference",
        '      spec.template.spec.containers[engine].image: "vllm/vllm-openai:v0.32.0" → "vllm/vllm-openai:v0.33.0"',
        "  restarts  role inference: template.spec.containers[engine].image changes",
        "  interrupts  role inference: with one copy and no surge nothing is answered until the new one is ready: "
        "replicas 2, or rolloutStrategy.rollingUpdate.maxSurge 1, would spare that",
    ]

    several = a_service("changed", template=nothing_runs(args=["--model", "qwen", "-tp", "2"]), podReplicas=2)
    turned = fusioninfer(namespace, "diff", "-f", "-", given=json.dumps(several))
    assert "- delete StatefulSet changed-inference" in turned.stdout
    assert "+ create LeaderWorkerSet changed-inference  once the earlier one is gone" in turned.stdout
    assert "no copy serves meanwhile" in turned.stdout
    assert namespace.get("statefulset", "changed-inference")["metadata"]["generation"] == 1


# --- with few rights ----------------------------------------------------------------------------------------------


@pytest.fixture
def viewer(namespace: Namespace, tmp_path: Path) -> Path:
    """The kubeconfig of somebody who may look at InferenceServices, in one namespace, and at nothing else."""
    rule = {"apiGroups": ["fusioninfer.io"], "resources": ["inferenceservices"], "verbs": ["get", "list", "watch"]}
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "viewer", "namespace": namespace.name}
    namespace.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "viewer"}},
        {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": "viewer"}, "rules": [rule]},
        {
            "apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": "viewer"}, "subjects": [subject],
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "viewer"},
        },
    )  # fmt: skip
    admin = yaml.safe_load(namespace.kubectl.kubeconfig.read_text())
    (context,) = admin["contexts"]
    admin["users"] = [
        {"name": context["context"]["user"], "user": {"token": namespace("create", "token", "viewer").strip()}}
    ]
    path = tmp_path / "viewer"
    path.write_text(yaml.safe_dump(admin))
    return path


def test_who_may_see_the_services_alone_sees_those_and_is_told_what_is_missing(
    namespace: Namespace, viewer: Path
) -> None:
    file = a_service("seen", template=nothing_runs(resources={"limits": {"nvidia.com/gpu": 1}}), replicas=1)
    namespace.apply(file)
    namespace.wait_ready("seen")

    def run(*words: str, given: str = "") -> Done:
        return fusioninfer(namespace, *words, given=given, kubeconfig=viewer)

    tree = run("status", "seen")
    assert tree.returncode == 0
    assert "inference  worker  Running  1/1 copies ready" in tree.stdout
    assert [line.split(": ")[:2] for line in tree.stdout.splitlines() if "not to be seen" in line] == [
        ["not to be seen", "Pod"]
    ]
    assert "True" in run("status").stdout
    explained = run("explain", "seen")
    assert (explained.returncode, explained.stdout.splitlines()[0]) == (
        0, namespace.condition("seen", "Ready")["message"]
    )  # fmt: skip
    check = run("check")
    assert check.returncode == 0, check.stdout
    assert "operator: that may not be known" in check.stdout
    assert "LeaderWorkerSet" in check.stdout
    diff = run("diff", "-f", "-", given=json.dumps(file))
    assert diff.returncode == 0, diff.stderr
    assert "what is free may not be known: nodes:" in diff.stdout
    assert "StatefulSet: " in diff.stdout
    for command in (["logs", "seen"], ["chat", "seen", "-m", "hello"], ["scale", "seen", "inference", "2"]):
        refused = run(*command)
        assert refused.returncode == 2
        assert "forbidden" in refused.stderr


def test_the_administrator_is_told_what_the_cluster_has(namespace: Namespace) -> None:
    def look() -> Done:
        return fusioninfer(namespace, "check")

    told = namespace.wait(look, lambda done: done.returncode == 0, "an operator to lead", 30).stdout

    assert "leads (Lease fusioninfer-system/fusioninfer, renewed" in told
    assert "LeaderWorkerSet                  yes" in told
    assert "to get GKE: it comes with GKE" in told
