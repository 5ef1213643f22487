"""Who gets which pods through an InferenceService: the policy in a real API server, with users who may do little.

`author` may write InferenceServices and nothing else; `podder` may create pods besides. The specification is asked too:
the API server's own Pod Security admission, with such a pod, in a namespace of level baseline.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fusioninfer.api import admission, types
from fusioninfer.daemon.rbac import API_GROUP
from tests import escapes
from tests.cluster.harness import Manifest, Namespace, a_namespace
from tests.escapes import ESCAPES, HARMLESS, Escape, Harmless, a_service
from tools.operator_process import Kubectl

pytestmark = pytest.mark.cluster

AUTHOR, PODDER = "author", "podder"
GOLDEN = Path("tests/golden")
OURS = {"apiGroups": [types.GROUP], "verbs": ["get", "create", "update", "patch"]}
RIGHTS = {
    AUTHOR: [{**OURS, "resources": [types.PLURAL, f"{types.PLURAL}/status"]}],
    PODDER: [
        {**OURS, "resources": [types.PLURAL]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    ],
}
REFUSED = f"ValidatingAdmissionPolicy '{admission.NAME}' with binding '{admission.NAME}' denied request: "


@dataclass(frozen=True, slots=True)
class Guarded:
    """A namespace in which the policy is in force."""

    namespace: Namespace

    def create(self, user: str, manifest: Manifest, plural: str = types.PLURAL) -> str:
        """What the API server says against it; empty if nothing. Nothing is kept."""
        root = "/api/v1" if plural == "pods" else f"/apis/{types.API_VERSION}"
        path = f"{root}/namespaces/{self.namespace.name}/{plural}?dryRun=All&fieldValidation=Strict"
        return self.run(user, "create", "--raw", path, "-f", "-", given=json.dumps(manifest))

    def apply(self, user: str, manifest: Manifest, *words: str) -> str:
        """What the API server says against it; empty if nothing."""
        command = ("apply", "--server-side", "--force-conflicts", "-n", self.namespace.name, *words, "-f", "-")
        return self.run(user, *command, given=json.dumps(manifest))

    def patch(self, user: str, name: str, patch: Manifest, *words: str) -> str:
        """What the API server says against it; empty if nothing."""
        command = ("patch", types.PLURAL, name, "-n", self.namespace.name, "--type=merge", "-p", json.dumps(patch))
        return self.run(user, *command, *words)

    def run(self, user: str, *words: str, given: str = "") -> str:
        kubectl = self.namespace.kubectl
        who = ["--as", user] if user else []
        command = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig), *who, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True)
        return done.stderr.strip() if done.returncode else ""


@pytest.fixture(scope="module")
def guarded(installed: Kubectl) -> Iterator[Guarded]:
    """A namespace of level baseline with both users in it."""
    with a_namespace(installed, "admission policy") as namespace:
        namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=baseline")
        namespace.apply(*(manifest for user, rules in RIGHTS.items() for manifest in may(user, rules)))
        namespace.wait(lambda: namespace.list("serviceaccount"), bool, "the default account")
        mine = Guarded(namespace)
        escaping = a_service(escapes.a_pod(hostNetwork=True))
        # An API server goes on with what it had for a moment: so that it is today's policy, there is none before.
        namespace.kubectl("delete", "validatingadmissionpolicybinding", admission.NAME)
        for user in RIGHTS:
            namespace.wait(lambda: mine.create(user, escaping), "".__eq__, f"{user}'s rights, and no policy")  # noqa: B023
        namespace.kubectl.apply(admission.admission_manifests())
        namespace.wait(lambda: mine.create(AUTHOR, escaping), lambda said: REFUSED in said, "the policy in force")
        yield mine


def may(user: str, rules: list[Any]) -> Iterator[Manifest]:
    """A role of `rules`, bound to `user`."""
    version = f"{API_GROUP}/v1"
    yield {"apiVersion": version, "kind": "Role", "metadata": {"name": user}, "rules": rules}
    yield {
        "apiVersion": version,
        "kind": "RoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": API_GROUP, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": API_GROUP, "kind": "User", "name": user}],
    }


def as_pod(template: Manifest) -> Manifest:
    """Under the default account, since no other is there."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "escaping", **template.get("metadata", {})},
        "spec": {key: value for key, value in template["spec"].items() if not key.startswith("serviceAccount")},
    }


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda it: it.id)
def test_who_may_not_create_pods_gets_no_such_pods(guarded: Guarded, escape: Escape) -> None:
    said = guarded.create(AUTHOR, a_service(escape.template))

    assert REFUSED in said
    for place in escapes.places(escape.says):
        assert place in said
    assert f"for who may create pods in namespace {guarded.namespace.name}, and {AUTHOR} may not" in said


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda it: it.id)
def test_who_may_create_pods_gets_what_he_could_have_without_us(guarded: Guarded, escape: Escape) -> None:
    assert guarded.create(PODDER, a_service(escape.template)) == ""


@pytest.mark.parametrize("harmless", HARMLESS, ids=lambda it: it.id)
def test_what_anybody_may_have_is_let_through(guarded: Guarded, harmless: Harmless) -> None:
    assert guarded.create(AUTHOR, a_service(harmless.template)) == ""


@pytest.mark.parametrize(
    "escape", [it for it in ESCAPES if it.check != admission.OWN_CHECK and it.pod_exists], ids=lambda it: it.id
)
def test_pod_security_refuses_such_a_pod_too(guarded: Guarded, escape: Escape) -> None:
    assert 'violates PodSecurity "baseline:latest"' in guarded.create("", as_pod(escape.template), "pods")


@pytest.mark.parametrize("harmless", HARMLESS, ids=lambda it: it.id)
def test_pod_security_lets_such_a_pod_through_too(guarded: Guarded, harmless: Harmless) -> None:
    assert "violates PodSecurity" not in guarded.create("", as_pod(harmless.template), "pods")


@pytest.mark.parametrize("case", sorted(GOLDEN.iterdir()), ids=lambda case: case.name)
def test_what_we_add_to_pods_asks_for_nothing_that_the_user_did_not(guarded: Guarded, case: Path) -> None:
    """The policy sees what the user wrote, and Pod Security sees the pods."""
    (service,) = yaml.safe_load_all((case / "service.yaml").read_text())
    desired = list(yaml.safe_load_all((case / "desired.yaml").read_text()))
    pods = [as_pod(template) for manifest in desired for template in templates(manifest)]
    violating = [pod for pod in pods if "violates PodSecurity" in guarded.create("", pod, "pods")]

    assert pods
    assert bool(violating) == (REFUSED in guarded.create(AUTHOR, {**service, "metadata": {"name": "golden"}}))


def templates(node: Any) -> Iterator[Manifest]:
    """The pod templates in a workload."""
    if isinstance(node, dict):
        if "containers" in node.get("spec", {}):
            yield node
        for child in node.values():
            yield from templates(child)


def test_a_refusal_names_all_that_is_wrong(guarded: Guarded) -> None:
    template = escapes.a_pod(hostNetwork=True, serviceAccountName="deployer")
    template["spec"]["containers"].append({"name": "other", "securityContext": {"privileged": True}})

    said = guarded.create(AUTHOR, a_service(template))

    for field in ("hostNetwork", "serviceAccountName", "containers[other].securityContext.privileged"):
        assert f"role inference: template.spec.{field}" in said
    assert "containers[engine]" not in said


@pytest.fixture
def stored(guarded: Guarded) -> Iterator[Manifest]:
    """A service on the host's network, by an administrator; it has no copies."""
    service = a_service(escapes.a_pod(hostNetwork=True), name="by-an-administrator")
    assert guarded.apply("", service) == ""
    yield service
    guarded.namespace("delete", types.PLURAL, service["metadata"]["name"])


def test_what_is_there_may_be_labelled_by_anybody(guarded: Guarded, stored: Manifest) -> None:
    name = stored["metadata"]["name"]

    assert guarded.patch(AUTHOR, name, {"metadata": {"labels": {"team": "red"}}}) == ""
    assert guarded.namespace.service(name)["metadata"]["labels"] == {"team": "red"}


def test_its_status_may_be_written_by_who_may_write_statuses(guarded: Guarded, stored: Manifest) -> None:
    name = stored["metadata"]["name"]
    status = {"observedGeneration": 1, "conditions": [], "components": {}}

    assert guarded.patch(AUTHOR, name, {"status": status}, "--subresource=status") == ""


def test_its_spec_is_changed_by_who_may_create_pods_alone(guarded: Guarded, stored: Manifest) -> None:
    """Else who may not could put an image of his own onto the host's network."""
    changed = copy.deepcopy(stored)
    changed["spec"]["roles"][0]["template"]["spec"]["containers"][0]["image"] = "mine:1"

    assert REFUSED in guarded.apply(AUTHOR, changed, "--dry-run=server")
    assert guarded.apply(PODDER, changed, "--dry-run=server") == ""


def test_the_largest_service_costs_less_than_the_api_server_allows(guarded: Guarded) -> None:
    """CEL that costs too much is a refusal: of harmless services too."""
    largest = the_largest(privileged=False)

    assert guarded.create(AUTHOR, largest) == ""
    assert "role r0x: template.spec.initContainers[i15].securityContext.privileged" in guarded.create(
        AUTHOR, the_largest(privileged=True)
    )


def the_largest(*, privileged: bool) -> Manifest:
    """As many roles and containers as the CRD takes, each with all that there is to look at."""

    def container(name: str, index: int) -> Manifest:
        security = {
            "capabilities": {"add": admission.CAPABILITIES},
            "seccompProfile": {"type": "RuntimeDefault"},
            "seLinuxOptions": {"type": "container_t"},
            "privileged": privileged and index == types.MAX_CONTAINERS - 1,
        }
        probe = {"httpGet": {"port": 1}}
        return {
            "name": f"{name}{index}",
            "image": "engine:1",
            "ports": [{"containerPort": port} for port in range(1, 17)],
            "securityContext": security,
            "livenessProbe": probe,
            "readinessProbe": probe,
            "startupProbe": probe,
        }

    template = escapes.a_pod(
        initContainers=[container("i", index) for index in range(types.MAX_CONTAINERS)],
        containers=[container("c", index) for index in range(types.MAX_CONTAINERS)],
        securityContext={"sysctls": [{"name": name, "value": "1"} for name in admission.SYSCTLS]},
    )
    kinds = ["prefiller", *("decoder" for _ in range(types.MAX_ROLES - 1))]
    roles = [
        {
            "name": f"r{index}x", "componentType": kind, "engine": "custom", "replicas": 0,
            "template": template, "multinode": {"nodeCount": 2, "workerTemplate": template},
        }
        for index, kind in enumerate(kinds)
    ]  # fmt: skip
    return {**a_service({}), "spec": {"roles": roles}}


def test_the_api_server_finds_no_fault_with_the_expressions(guarded: Guarded) -> None:
    policy = guarded.namespace.wait(
        lambda: json.loads(guarded.namespace.kubectl("get", "validatingadmissionpolicy", admission.NAME, "-o", "json")),
        lambda seen: seen.get("status", {}).get("observedGeneration") == seen["metadata"]["generation"],
        "the expressions to be checked",
    )

    assert policy["status"].get("typeChecking", {}).get("expressionWarnings", []) == []
