"""Pages that install an operator by its chart: apart from those that find one, whose account goes with this one's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import Namespace
from tests.cluster.pages import a_terminal, type_page
from tools import in_cluster, operator_process
from tools.in_cluster import Helm
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster]

PAGES = ("docs/quick-start.md", "docs/operating/install.md")


@pytest.fixture
def bare(installed: Kubectl) -> Iterator[None]:
    """A cluster that has the operator's image and nothing else of it."""
    in_cluster.load_image()
    helm = in_cluster.helm(installed.kubeconfig)
    remove(installed, helm)
    yield
    remove(installed, helm)
    operator_process.install(installed)  # for the tests of other files, whose operator is a process


def remove(kubectl: Kubectl, helm: Helm) -> None:
    """Take all away that the chart brings, however it came."""
    if helm("list", "--namespace", in_cluster.NAMESPACE, "--short").strip():
        helm("uninstall", in_cluster.RELEASE, "--namespace", in_cluster.NAMESPACE, "--wait")
    kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", given=helm.manifests())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_how_it_is_installed(
    page: str, namespace: Namespace, bare: None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with a_terminal(namespace, tmp_path) as terminal:
        type_page(page, terminal, namespace.name, update=request.config.getoption("--update-golden"))
