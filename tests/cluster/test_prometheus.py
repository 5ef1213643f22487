"""A real Prometheus reads a real operator, as its account may, and evaluates the alerts that ship.

That they fire when they should: tests/charts.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import prometheus
from tests.charts.test_alerts import ALERTS, alerts
from tests.cluster.harness import Namespace, a_service, nothing_runs, port_of
from tools import operator_process

pytestmark = pytest.mark.cluster


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that runs."""

    port: int

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def has(self, selector: str) -> bool:
        """There are series that `selector` finds."""
        return bool(self.ask("query", query=selector)["result"])

    def rules(self) -> list[Any]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def reading(self) -> list[tuple[str, str]]:
        """How the operator was read last, and what was wrong."""
        return [(target["health"], target["lastError"]) for target in self.ask("targets")["activeTargets"]]


@pytest.fixture
def measured(operator_kubeconfig: Path, namespace: Namespace, tmp_path: Path) -> Iterator[Path]:
    """A running operator for the test's namespace, which leads whoever has the Lease; its log."""
    log = tmp_path / "operator.log"
    flags = ["--port", "0", "--metrics-token-review", "--no-leader-election", "--namespace", namespace.name]
    process = operator_process.start(operator_kubeconfig, log, *flags)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def scraping(measured: Path, namespace: Namespace, reader: str, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that has read the operator's metrics, after a turn of a service, and evaluated every alert since."""
    (tmp_path / "token").write_text(reader)
    (tmp_path / "alerts.yaml").write_text(ALERTS.read_text())
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration(port_of(measured, namespace))))
    port = free_port()
    command = [
        str(prometheus.program()), "--config.file=prometheus.yaml", "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        namespace.apply(a_service("scraped", template=nothing_runs()))
        namespace.wait_ready("scraped")
        mine = Prometheus(port)
        namespace.wait(lambda: seen_by(mine), is_enough, "Prometheus to have seen a turn and all rules", 60)
        yield mine
    finally:
        process.terminate()
        process.wait(20)


def configuration(port: int) -> Any:
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "fusioninfer-system"}}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [
            {"job_name": "fusioninfer", "authorization": {"credentials_file": "token"}, "static_configs": [target]}
        ],
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seen_by(mine: Prometheus) -> Any:
    """What it knows: how the operator was read, a leader and turns, and how often each rule was evaluated."""
    try:
        return {
            "reading": mine.reading(),
            "leads": mine.has("fusioninfer_leader == 1"),
            "turns": mine.has('fusioninfer_reconciles_total{outcome="done"} > 0'),
            "rules": {rule["name"]: (rule["health"], rule["state"]) for rule in mine.rules()},
        }
    except OSError as error:
        return str(error)


def is_enough(seen: Any) -> bool:
    """Every rule was evaluated after a turn of a leader, and says that there is one."""
    if not isinstance(seen, dict) or not seen["leads"] or not seen["turns"]:
        return False
    silent = [seen["rules"][alert] for alert in ("FusionInferAbsent", "FusionInferWithoutLeader")]
    return silent == [("ok", "inactive")] * 2 and all(health != "unknown" for health, _ in seen["rules"].values())


SELECTOR = re.compile(r"(fusioninfer_\w+)(?:\{([^}]*)\})?")
MATCHED = re.compile(r"(\w+)\s*[=!]")
GROUPED = re.compile(r"by \(([^)]*)\)")


def spoken_of(expression: str) -> set[tuple[str, str]]:
    """Each metric of an expression with each label by which it is chosen or grouped."""
    grouped = {label.strip() for labels in GROUPED.findall(expression) for label in labels.split(",")}
    return {
        (name, label)
        for name, matchers in SELECTOR.findall(expression)
        for label in {"job", *MATCHED.findall(matchers), *grouped}
    }


def test_what_an_expression_speaks_of_is_found_out() -> None:
    expression = 'sum by (namespace, le) (rate(fusioninfer_a_bucket{code=~"0|5..", verb!="x"}[5m])) > fusioninfer_b'

    assert spoken_of(expression) == {
        *(("fusioninfer_a_bucket", label) for label in ("job", "code", "verb", "namespace", "le")),
        *(("fusioninfer_b", label) for label in ("job", "namespace", "le")),
    }


def test_prometheus_reads_the_operator_and_every_alert_knows_its_series(scraping: Prometheus) -> None:
    assert scraping.reading() == [("up", "")]

    assert {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in scraping.rules()} == {
        rule["alert"]: ("ok", "") for rule in alerts()
    }
    for rule in alerts():
        spoken = spoken_of(rule["expr"])
        assert spoken
        assert [(name, label) for name, label in spoken if not scraping.has(f'{name}{{{label}!=""}}')] == []
