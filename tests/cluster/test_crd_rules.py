"""The CRD in a real API server: what it refuses and in which words, what it accepts, what it tells of our fields."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from fusioninfer.api import crd, types
from fusioninfer.api.service import Manifest
from tests import refusals
from tests.refusals import ACCEPTED, REFUSALS, Accepted, Refusal
from tools import kubernetes_schema
from tools.operator_process import Kubectl

pytestmark = pytest.mark.cluster

SERVICES = f"/apis/{types.GROUP}/{types.VERSION}/namespaces/default/{types.PLURAL}"
STRICT_DRY_RUN = "fieldValidation=Strict&dryRun=All"
PUBLISHED_WITHIN_SECONDS = 30

Answer = subprocess.CompletedProcess[str]
Server = Callable[..., Answer]


@pytest.fixture(scope="session")
def server(kubectl: Kubectl) -> Server:
    """An API server with our CRD, by way of kubectl, which reads what is `sent` as its input and may be refused."""

    def run(*words: str, sent: str = "") -> Answer:
        command = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig), *words]
        return subprocess.run(command, input=sent, capture_output=True, text=True)

    applied = run("apply", "-f", "-", sent=crd.yaml_text(crd.custom_resource_definition()))
    assert applied.returncode == 0, applied.stderr
    wait_until_served(run)
    return run


def wait_until_served(run: Server) -> None:
    """An API server goes on with the old schema for a moment; publishing the new one is the last that it does."""
    give_up = time.monotonic() + PUBLISHED_WITHIN_SECONDS
    while published_spec(run) != crd.service_schema()["properties"]["spec"]:
        assert time.monotonic() < give_up, "the API server does not publish the schema that was applied"
        time.sleep(0.2)


def published_spec(run: Server) -> Any:
    """The schema of `spec` in the server's OpenAPI, less the anyOf that it adds to an int-or-string; None if none."""
    answer = run("get", "--raw", f"/openapi/v3/apis/{types.GROUP}/{types.VERSION}")
    if answer.returncode:
        return None
    schemas = json.loads(answer.stdout)["components"]["schemas"]
    name = f"{'.'.join(reversed(types.GROUP.split('.')))}.{types.VERSION}.{types.KIND}"
    return without_any_of(schemas[name]["properties"]["spec"])


def without_any_of(node: Any) -> Any:
    match node:
        case dict():
            return {key: without_any_of(value) for key, value in node.items() if key != "anyOf"}
        case list():
            return [without_any_of(value) for value in node]
    return node


def create(server: Server, service: Manifest) -> Answer:
    return server("create", "--raw", f"{SERVICES}?{STRICT_DRY_RUN}", "-f", "-", sent=json.dumps(service))


@pytest.mark.parametrize("refusal", [it for it in REFUSALS if it.says is not None], ids=lambda it: it.id)
def test_refused(server: Server, refusal: Refusal) -> None:
    answer = create(server, refusal.service)

    assert answer.returncode != 0
    assert refusal.says is not None
    assert refusal.says in answer.stderr


@pytest.mark.parametrize("refusal", [it for it in REFUSALS if it.says is None], ids=lambda it: it.id)
def test_left_to_parse(server: Server, refusal: Refusal) -> None:
    """When the API server learns to refuse one of these, its words belong into the table."""
    assert create(server, refusal.service).returncode == 0


@pytest.mark.parametrize("accepted", ACCEPTED, ids=lambda it: it.id)
def test_accepted(server: Server, accepted: Accepted) -> None:
    assert create(server, accepted.service).stderr == ""


@pytest.mark.parametrize("accepted", ACCEPTED, ids=lambda it: it.id)
def test_accepted_by_server_side_apply(server: Server, accepted: Accepted) -> None:
    """Which types what it gets by the schema before anything validates it."""
    sent = json.dumps(accepted.service)

    assert server("apply", "--server-side", "--dry-run=server", "-f", "-", sent=sent).stderr == ""


def test_what_was_written_is_stored_as_it_was_written(server: Server) -> None:
    """No default, nothing pruned: what GitOps compares is the same."""
    assert json.loads(create(server, refusals.EVERYTHING).stdout)["spec"] == refusals.EVERYTHING["spec"]


@pytest.fixture
def stored(server: Server) -> Iterator[Manifest]:
    """A service that is there, and gone after the test. It has no copies, should an operator see it."""
    service = refusals.service(refusals.role(replicas=0), name="of-test-crd-rules")
    assert server("apply", "-f", "-", sent=json.dumps(service)).stderr == ""
    yield service
    server("delete", types.PLURAL, service["metadata"]["name"])


def test_a_change_is_held_to_the_same_rules(server: Server, stored: Manifest) -> None:
    stored["spec"]["roles"].append(refusals.role("second"))

    assert "at most one worker" in server("apply", "-f", "-", sent=json.dumps(stored)).stderr


STATUS = types.InferenceServiceStatus(
    observedGeneration=1,
    conditions=(
        types.Condition(
            type="Ready",
            status="False",
            reason="ReplicasNotReady",
            message="waiting for inference 1/2",
            lastTransitionTime="2026-01-01T00:00:00Z",
            observedGeneration=1,
        ),
    ),
    components={},
    url="http://qwen.default.svc",
)


def test_columns_show_the_status(server: Server, stored: Manifest) -> None:
    name = stored["metadata"]["name"]
    patch = msgspec.json.encode({"status": STATUS}).decode()

    assert server("patch", types.PLURAL, name, "--subresource=status", "--type=merge", "-p", patch).stderr == ""
    status, (header, row) = status_and_table(server, name)

    ready = next(it for it in status["conditions"] if it["type"] == "Ready")
    assert header.split() == ["NAME", "READY", "REASON", "URL", "AGE", "MESSAGE"]
    assert row.split()[1:4] == [ready["status"], ready["reason"], status["url"]]
    assert row.endswith(ready["message"])


def status_and_table(server: Server, name: str) -> tuple[Manifest, list[str]]:
    """The status of a service, and how it is shown; an operator of another test may write it meanwhile."""
    while True:
        before = json.loads(server("get", "fi", name, "-o", "json").stdout)["status"]
        table = server("get", "fi", name, "-o", "wide").stdout.splitlines()
        if before == json.loads(server("get", "fi", name, "-o", "json").stdout)["status"]:
            return before, table


def test_explain_tells_of_our_fields(server: Server) -> None:
    told = server("explain", "inferenceservice.spec.roles").stdout

    assert "Another spelling of replicas." in told
    assert "replicas\t<integer>" in told
    assert "componentType\t<string> -required-" in told


def test_the_short_name_is_known(server: Server) -> None:
    assert server("get", "fi", "--all-namespaces").returncode == 0


def test_the_server_has_the_schemas_of_the_pinned_kubernetes(kubectl: Kubectl) -> None:
    live = kubernetes_schema.from_server(kubectl.kubeconfig, str(kubectl.program))

    assert live == kubernetes_schema.WRITTEN_TO.read_text()
