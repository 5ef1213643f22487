"""The chart in a real cluster: two operators under their own account, one at work, and what helm's commands leave."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from fusioninfer.reconcile import ownership
from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import (
    AuditLog,
    Manifest,
    Namespace,
    a_namespace,
    a_service,
    address,
    chat_or_nothing,
    is_write,
    kill,
    simulator,
)  # fmt: skip
from tests.cluster.operators import leader, lease, led_by, operators, ready_operators
from tools import in_cluster, operator_process
from tools.in_cluster import CHART, NAMESPACE, RELEASE, Helm
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster]

FIXTURES = Path(__file__).parent.parent / "fixtures/0.1.0"
LEASE_SECONDS = 15
"""How long a Lease lasts that nobody renews."""
TAKEN_SECONDS = 2
"""And in which time after that another holds it."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CRD = "inferenceservices.fusioninfer.io"


@pytest.fixture(scope="module")
def helm(kubectl: Kubectl) -> Helm:
    return in_cluster.helm(kubectl.kubeconfig)


@pytest.fixture(scope="module")
def values(kubectl: Kubectl) -> tuple[str, ...]:
    """The image is there; what the chart is to be told of it."""
    return in_cluster.load_image()


@pytest.fixture(scope="module")
def release(kubectl: Kubectl, helm: Helm, values: tuple[str, ...]) -> Iterator[Namespace]:
    """The namespace in which the chart's two operators are, where nothing may run that is not `restricted`."""
    labels: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}}
    kubectl.apply([labels])
    helm.install(*values)
    yield Namespace(kubectl, NAMESPACE)
    if helm("list", "--namespace", NAMESPACE, "--short").strip():
        helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    operator_process.install(kubectl)  # for the tests of other files, whose operator is a process


def within(namespace: Namespace, requests: list[Manifest]) -> list[Manifest]:
    """Those about objects of `namespace`: others', whose tests are over, are being taken away."""
    return [entry for entry in requests if entry.get("objectRef", {}).get("namespace") == namespace.name]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_rendered_manifests_are_accepted_as_they_are(kubectl: Kubectl, helm: Helm, release: Namespace) -> None:
    rendered = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--set", "podLabels.team=blue")

    told = kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", given=rendered)

    assert {line.rpartition(" ")[2] for line in told.splitlines()} == {"run)"}
    assert len(told.splitlines()) == len(list(yaml.safe_load_all(rendered)))


def test_two_operators_run_where_only_restricted_pods_may_and_one_leads(release: Namespace) -> None:
    pods = ready_operators(release, 2)

    led_by(release, pods)
    release.wait(
        lambda: release.get("poddisruptionbudget", RELEASE).get("status", {}),
        lambda status: (status.get("expectedPods"), status.get("disruptionsAllowed")) == (2, 1),
        "one of two operators to be one that may go",
    )


def test_a_service_is_served(release: Namespace, namespace: Namespace) -> None:
    namespace.apply(a_service("served", template=simulator(), replicas=1))
    namespace.wait_ready("served")

    where = address(namespace, "served")
    answer = namespace.wait(lambda: chat_or_nothing(where, "who answers?"), bool, "an answer", 10)

    assert "who answers?" in answer


def test_told_to_end_the_leader_leaves_the_work_to_the_other_at_once(
    release: Namespace, namespace: Namespace, audit: AuditLog
) -> None:
    namespace.apply(a_service("kept", template=simulator(), replicas=1))
    namespace.wait_ready("kept")
    time.sleep(11)  # counts that moved last are told 10 s after what was told before
    pods = ready_operators(release, 2)
    led = led_by(release, pods)
    (other,) = pods.keys() - {led}

    with audit.requests_of(OPERATOR) as requests:
        release("delete", "pod", led, "--wait=false")
        release.wait(lambda: leader(release), lambda name: name == other, "the other to lead", 10)
        ready_operators(release, 2)

    assert [entry["requestURI"] for entry in within(namespace, requests) if is_write(entry)] == []


def test_when_the_leader_is_killed_the_other_goes_on_and_writes_nothing_twice(
    release: Namespace, namespace: Namespace, audit: AuditLog
) -> None:
    pods = ready_operators(release, 2)
    led = led_by(release, pods)
    (other,) = pods.keys() - {led}

    with audit.requests_of(OPERATOR) as requests:
        kill(pods[led], "operator")
        left = lease(release)
        namespace.apply(a_service("in-between", template=simulator(), replicas=1))
        taken = release.wait(
            lambda: lease(release), lambda spec: spec["holderIdentity"].startswith(other), "the other to lead", 30
        )
        namespace.wait_ready("in-between")
        ready_operators(release, 2)

    assert left["holderIdentity"].startswith(led)
    assert moment(taken["acquireTime"]) - moment(left["renewTime"]) <= LEASE_SECONDS + TAKEN_SECONDS
    writes = [entry for entry in within(namespace, requests) if is_write(entry)]
    children = [entry for entry in writes if "subresource" not in entry["objectRef"]]
    assert sorted(entry["objectRef"]["resource"] for entry in children) == ["services", "statefulsets"]
    assert {entry["responseStatus"]["code"] for entry in children} == {201}


def test_an_operator_that_ends_without_need_is_no_reason_to_wait(release: Namespace) -> None:
    """Who follows is replaced, and the leader stays."""
    pods = ready_operators(release, 2)
    led = led_by(release, pods)
    (other,) = pods.keys() - {led}

    release("delete", "pod", other)
    ready_operators(release, 2)

    assert leader(release) == led


def left_by_0_1_0(namespace: Namespace) -> None:
    """The objects that the first release had made, in its own words and under its own field manager."""
    namespace.kubectl.apply(list(yaml.safe_load_all((FIXTURES / "install.yaml").read_text())))
    objects = json.loads((FIXTURES / "objects.json").read_text())
    (service,) = [each for each in objects if each["kind"] == "InferenceService"]
    namespace.apply({**{key: service[key] for key in ("apiVersion", "kind", "spec")}, "metadata": {"name": "qwen"}})
    uid = namespace.service("qwen")["metadata"]["uid"]
    for child in objects:
        if child["kind"] == "InferenceService":
            continue
        held = child["metadata"]["managedFields"][0]["fieldsV1"]
        kept = ownership.held_part(child, held)
        kept["metadata"] |= {"name": child["metadata"]["name"], "ownerReferences": child["metadata"]["ownerReferences"]}
        kept["metadata"]["ownerReferences"][0]["uid"] = uid
        manifest = {"apiVersion": child["apiVersion"], "kind": child["kind"], **kept}
        namespace("apply", "--server-side", "--field-manager=fusioninfer", "-f", "-", given=json.dumps(manifest))


def changed_chart(folder: Path) -> Path:
    """The chart of a later version, whose CRD has a field more."""
    chart = folder / "fusioninfer"
    shutil.copytree(CHART, chart)
    described = chart / "Chart.yaml"
    described.write_text(described.read_text().replace("\nversion: ", "\nversion: 9"))
    crd = yaml.safe_load((chart / "files/crd.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["later"] = {"type": "string"}
    (chart / "files/crd.yaml").write_text(json.dumps(crd))
    return chart


def knows_later(kubectl: Kubectl) -> bool:
    schema = json.loads(kubectl("get", "crd", CRD, "-o", "json"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return "later" in schema["properties"]["spec"]["properties"]


def test_the_life_of_a_release(
    release: Namespace, helm: Helm, values: tuple[str, ...], kubectl: Kubectl, tmp_path: Path
) -> None:
    """Uninstalled, installed over what 0.1.0 left, upgraded, rolled back, uninstalled: services go on in all of it."""
    helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    with a_namespace(kubectl, "the life of a release") as namespace:
        left_by_0_1_0(namespace)
        statefulset = namespace.get("statefulset", "qwen-inference")

        helm.install(*values)
        qwen = namespace.wait(
            lambda: namespace.service("qwen"), lambda service: "status" in service, "a status of the service", 60
        )
        namespace.apply(a_service("runs", template=simulator(), replicas=1))
        namespace.wait_ready("runs")
        where = address(namespace, "runs")
        namespace.wait(lambda: chat_or_nothing(where), bool, "an answer", 10)
        pods = {pod["metadata"]["uid"] for pod in namespace.list("pods")}

        later = changed_chart(tmp_path)
        helm.install(*values, "operator.logLevel=debug", chart=later)
        upgraded = knows_later(kubectl)
        helm("rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", in_cluster.PATIENCE)
        ready_operators(release, 2)
        rolled_back = not knows_later(kubectl)

        now = namespace.get("statefulset", "qwen-inference")
        assert now["metadata"]["uid"] == statefulset["metadata"]["uid"]
        assert now["spec"]["template"] == statefulset["spec"]["template"]
        assert now["metadata"]["generation"] == statefulset["metadata"]["generation"]
        assert qwen["status"]["observedGeneration"] == 1
        assert (upgraded, rolled_back) == (True, True)

        helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
        assert operators(release) == {}
        assert chat_or_nothing(where)
        assert namespace.service("runs")["metadata"]["name"] == "runs"
        assert {pod["metadata"]["uid"] for pod in namespace.list("pods")} == pods

        helm.install(*values)
        ready_operators(release, 2)
        namespace("delete", "inferenceservice", "runs", "--wait")
        namespace.wait(
            lambda: [pod for pod in namespace.list("pods") if pod["metadata"]["name"].startswith("runs-")],
            lambda left: not left, "the pods to go with their service", 60,
        )  # fmt: skip
