"""The local cluster, shared by namespaces, and one operator in it with the rights that it ships with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusioninfer.daemon.rbac import API_GROUP, METRICS_READER
from testbed import places
from tests.cluster import side_by_side
from tests.cluster.harness import AuditLog, Namespace, a_namespace
from tools import operator_process
from tools.operator_process import Kubectl

OPERATOR = f"system:serviceaccount:{operator_process.NAMESPACE}:{operator_process.ACCOUNT}"


@pytest.fixture(scope="session")
def installed(kubectl: Kubectl) -> Kubectl:
    """The CRD and the operator's rights are there."""
    operator_process.install(kubectl)
    return kubectl


@pytest.fixture(scope="module")
def operator_kubeconfig(installed: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the operator's own rights and no more; a new one per file, since some have its account anew."""
    path = tmp_path_factory.mktemp("operator") / "kubeconfig"
    operator_process.write_kubeconfig(installed, path)
    return path


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path) -> Iterator[Path]:
    """A running operator for all namespaces, for the tests of one file; its log."""
    log = operator_kubeconfig.with_name("operator.log")
    process = operator_process.start(operator_kubeconfig, log, "--port", "0", "--metrics-token-review")
    try:
        yield log
        process.terminate()
        assert process.wait(20) == 0, log.read_text()[-2000:]
    finally:
        process.kill()


@pytest.fixture
def namespace(installed: Kubectl, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of this test's own."""
    with a_namespace(installed, request.node.name.removeprefix("test_")) as mine:
        yield mine


@pytest.fixture
def without_lws(installed: Kubectl) -> Iterator[None]:
    """A cluster as it is before LeaderWorkerSet is installed, and at the end one that has it again."""
    installed("delete", "-k", str(places.STATE / "lws"), "--ignore-not-found", "--timeout=120s")
    yield
    install_lws()


def install_lws() -> None:
    """Returns when its webhooks answer."""
    subprocess.run([sys.executable, "-m", "testbed", "up", "lws"], check=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    side_by_side.expect_begun(items)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that was begun already is not called again: its end is waited for."""
    if not side_by_side.is_marked(pyfuncitem):
        return None
    tests = pyfuncitem.funcargs["begun"]
    assert isinstance(tests, side_by_side.Begun)
    tests.end(pyfuncitem)
    return True


@pytest.fixture(scope="module")
def begun(
    installed: Kubectl, operator: Path, audit: AuditLog, request: pytest.FixtureRequest
) -> Iterator[side_by_side.Begun]:
    """All tests of this file that are marked, and are to run."""
    mine = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    with side_by_side.Begun(filter(side_by_side.is_marked, mine), installed, audit=audit) as tests:
        yield tests


@pytest.fixture(scope="session")
def audit(audit_log: Path) -> AuditLog:
    """What the API server was asked."""
    return AuditLog(audit_log)


@pytest.fixture
def reader(namespace: Namespace) -> Iterator[str]:
    """The token of an account that may read the operator's metrics."""
    binding = {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": namespace.name},
        "roleRef": {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": METRICS_READER},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace.name}],
    }
    namespace("create", "serviceaccount", "reader")
    namespace.kubectl.apply([binding])
    yield namespace("create", "token", "reader").strip()
    namespace.kubectl("delete", "clusterrolebinding", namespace.name)
