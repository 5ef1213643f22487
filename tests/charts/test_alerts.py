"""The alerts by promtool: that they are rules, and when each of them fires. On a real operator: tests/cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import prometheus

ALERTS = Path("charts/fusioninfer/files/alerts.yaml")
TESTS = Path("tests/charts/alerts.test.yaml")


def alerts() -> list[Any]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def promtool(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([prometheus.promtool(), *words], capture_output=True, text=True, cwd=folder)


def unit_tests(folder: Path, tests: Any) -> subprocess.CompletedProcess[str]:
    """What promtool says of `tests`: which alerts fire with which labels, whatever their words to people."""
    rules = yaml.safe_load(ALERTS.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (folder / "tests.yaml").write_text(yaml.safe_dump(tests))
    return promtool("test", "rules", "tests.yaml", folder=folder)


def test_they_are_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_fires_when_it_should_and_not_else(tmp_path: Path) -> None:
    done = unit_tests(tmp_path, yaml.safe_load(TESTS.read_text()))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_each_is_seen_to_fire_and_to_be_silent(alert: str) -> None:
    expected = [
        case["exp_alerts"]
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]

    assert any(expected)
    assert not all(expected)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_each_says_what_it_means_and_what_to_do(rule: Any) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())
