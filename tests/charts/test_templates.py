"""What Helm makes of the chart: what guards the operator is there, and what needs another operator only when asked for.

In a cluster: tests/cluster.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fusioninfer.api.admission import admission_manifests
from fusioninfer.api.violations import violations
from fusioninfer.daemon.rbac import user_roles
from fusioninfer.daemon.settings import Settings, variable
from testbed import build, crds, programs

CHART = Path("charts/fusioninfer")
CERTIFICATE = {"certificate": {"secretName": "tls"}}


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    """Helm is built."""
    build.build(["helm"])


def rendered(**values: Any) -> list[Any]:
    """The chart's objects with these values; AssertionError with Helm's words if it refuses them."""
    command = [str(programs.path("helm")), "template", "fusioninfer", str(CHART), "-n", "system", "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def one(kind: str, **values: Any) -> Any:
    (found,) = (manifest for manifest in rendered(**values) if manifest["kind"] == kind)
    return found


def names(**values: Any) -> set[tuple[str, str]]:
    return {(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered(**values)}


@pytest.mark.parametrize(
    ("switch", "objects"),
    [
        ("admissionPolicy", {(it["kind"], it["metadata"]["name"]) for it in admission_manifests()}),
        ("userRoles", {(it["kind"], it["metadata"]["name"]) for it in user_roles()}),
        ("networkPolicy", {("NetworkPolicy", "fusioninfer")}),
        ("serviceMonitor", {("ServiceMonitor", "fusioninfer")}),
        ("prometheusRule", {("PrometheusRule", "fusioninfer")}),
    ],
)
def test_a_switch_turns_on_and_off_what_it_names_and_nothing_else(switch: str, objects: set[tuple[str, str]]) -> None:
    on, off = (names(**{switch: {"enabled": enabled}}) for enabled in (True, False))

    assert on - off == objects
    assert off < on


def test_what_needs_the_prometheus_operator_is_off_by_default() -> None:
    kinds = {kind for kind, _ in names()}

    assert {"NetworkPolicy", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} <= kinds
    assert not {"ServiceMonitor", "PrometheusRule"} & kinds


def test_alerts_are_word_by_word_those_that_are_tested() -> None:
    tested = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())

    assert one("PrometheusRule", prometheusRule={"enabled": True})["spec"] == tested


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PrometheusRule"])
def test_the_prometheus_operator_knows_every_field(kind: str) -> None:
    switch = kind[0].lower() + kind[1:]
    made = one(kind, **{switch: {"enabled": True}}, **CERTIFICATE)
    (file,) = (it for it in crds.MONITORING.files() if it.name.endswith(f"_{kind.lower()}s.yaml"))
    definition = yaml.safe_load(file.read_text())
    (version,) = definition["spec"]["versions"]

    assert made["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
    assert list(violations(made["spec"], version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")) == []


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PrometheusRule"])
def test_labels_by_which_prometheus_chooses_are_added(kind: str) -> None:
    switch = kind[0].lower() + kind[1:]
    labels = one(kind, **{switch: {"enabled": True, "labels": {"release": "prometheus"}}})["metadata"]["labels"]

    assert labels["release"] == "prometheus"
    assert labels["app.kubernetes.io/name"] == "fusioninfer"


def test_no_way_out_is_closed_before_it_is_said_where_the_api_server_is() -> None:
    assert one("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]
    assert "egress" not in one("NetworkPolicy")["spec"]


def test_then_all_ways_out_but_that_and_dns_are() -> None:
    spec = one("NetworkPolicy", networkPolicy={"apiServer": [{"cidr": "10.0.0.1/32", "port": 6443}]})["spec"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in spec["egress"] for port in rule["ports"]] == [53, 53, 6443]
    assert spec["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]


def test_the_metrics_port_is_for_whom_it_is_said() -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    (everybody,) = one("NetworkPolicy")["spec"]["ingress"]
    (chosen,) = one("NetworkPolicy", networkPolicy={"metricsFrom": [monitoring]})["spec"]["ingress"]

    assert everybody == {"ports": [{"port": "http", "protocol": "TCP"}]}
    assert chosen == {**everybody, "from": [monitoring]}


def environment(**values: Any) -> dict[str, str]:
    (container,) = one("Deployment", **values)["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_metrics_are_read_by_whom_the_api_server_lets() -> None:
    assert environment()[variable("metrics_token_review")] == "true"


def test_every_variable_is_an_option() -> None:
    known = {variable(name) for name in Settings.__dataclass_fields__}

    assert set(environment(**CERTIFICATE)) <= known


def probes(**values: Any) -> Iterator[Any]:
    (container,) = one("Deployment", **values)["spec"]["template"]["spec"]["containers"]
    return (container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe"))


def test_with_a_certificate_everybody_speaks_tls() -> None:
    spec = one("Deployment", **CERTIFICATE)["spec"]["template"]["spec"]
    (endpoint,) = one("ServiceMonitor", **CERTIFICATE, serviceMonitor={"enabled": True})["spec"]["endpoints"]

    assert [probe.get("scheme") for probe in probes()] == [None] * 3
    assert [probe["scheme"] for probe in probes(**CERTIFICATE)] == ["HTTPS"] * 3
    assert spec["volumes"] == [{"name": "certificate", "secret": {"secretName": "tls"}}]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["serverName"] == "fusioninfer-metrics.system.svc"


def test_values_that_are_no_values_are_refused() -> None:
    with pytest.raises(AssertionError, match="networkPolicy"):
        rendered(networkPolicy={"enable": True})
