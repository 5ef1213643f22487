"""`fusioninfer status`: what a person sees of a service in a cluster, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.harness import Namespace, a_service, nothing_runs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def status(namespace: Namespace, *words: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("fusioninfer"))
    kubeconfig = str(namespace.kubectl.kubeconfig)
    command = [program, "status", "--kubeconfig", kubeconfig, "-n", namespace.name, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "200"})


def test_it_waits_until_the_service_is_ready(namespace: Namespace) -> None:
    namespace.apply(a_service("seen", template=nothing_runs(), replicas=2))

    shown = status(namespace, "seen", "--watch", "--until-ready", "--timeout", "60")

    assert shown.returncode == 0, shown.stderr
    assert "inference  Running  2/2" in shown.stdout
    assert f"http://seen.{namespace.name}.svc" in shown.stdout


def test_it_says_why_a_service_is_not_ready(namespace: Namespace) -> None:
    template = nothing_runs()
    template["spec"]["nodeSelector"] = {"no": "such-node"}
    namespace.apply(a_service("stuck", template=template, replicas=1))
    namespace.wait_reason("stuck", "Ready", "Unschedulable")

    shown = status(namespace, "stuck", "--until-ready")

    assert shown.returncode == 1
    assert "Unschedulable" in shown.stdout
    assert "node(s) didn't match Pod's node affinity/selector" in shown.stdout


def test_a_service_that_is_not_there_is_named(namespace: Namespace) -> None:
    shown = status(namespace, "nobody")

    assert shown.returncode == 2
    assert '"nobody" not found' in shown.stderr
