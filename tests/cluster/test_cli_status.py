"""`fusioninfer status`: what a person sees of a service in a cluster, and how it ends."""

from __future__ import annotations

import json

import pytest

from tests.cluster.commands import fusioninfer
from tests.cluster.harness import Namespace, a_service, nothing_runs

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def test_it_waits_until_the_service_is_ready(namespace: Namespace) -> None:
    namespace.apply(a_service("seen", template=nothing_runs(), replicas=2))

    shown = fusioninfer(namespace, "status", "seen", "--watch", "--until-ready", "--timeout", "60")

    assert shown.returncode == 0, shown.stderr
    assert f"seen  Ready  http://seen.{namespace.name}.svc" in shown.stdout
    assert "inference  worker  Running  2/2 copies ready" in shown.stdout
    assert "pod seen-inference-1  ready" in shown.stdout


def test_it_says_why_a_service_is_not_ready(namespace: Namespace) -> None:
    template = nothing_runs()
    template["spec"]["nodeSelector"] = {"no": "such-node"}
    namespace.apply(a_service("stuck", template=template, replicas=1))
    namespace.wait_reason("stuck", "Ready", "Unschedulable")

    shown = fusioninfer(namespace, "status", "stuck", "--until-ready")

    assert shown.returncode == 1
    assert "Unschedulable" in shown.stdout
    assert "node(s) didn't match Pod's node affinity/selector" in shown.stdout


def test_a_service_that_is_not_there_is_named(namespace: Namespace) -> None:
    shown = fusioninfer(namespace, "status", "nobody")

    assert shown.returncode == 2
    assert '"nobody" not found' in shown.stderr


def test_all_services_of_a_namespace_are_a_table(namespace: Namespace) -> None:
    namespace.apply(*(a_service(name, template=nothing_runs(), replicas=1) for name in ("one", "two")))
    for name in ("one", "two"):
        namespace.wait_ready(name)

    shown = fusioninfer(namespace, "status").stdout.splitlines()

    assert [line.split()[:4] for line in shown[1:]] == [[name, "True", "Ready", "inference"] for name in ("one", "two")]


def test_programs_read_json(namespace: Namespace) -> None:
    namespace.apply(a_service("seen", template=nothing_runs(), replicas=1))
    namespace.wait_ready("seen")

    document = json.loads(fusioninfer(namespace, "status", "seen", "-o", "json").stdout)

    assert [pod["ready"] for pod in document["roles"][0]["pods"]] == [True]
