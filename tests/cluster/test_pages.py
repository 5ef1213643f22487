"""Pages that begin where an operator is installed; and what pages show, as the API server takes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import test_pages_of_installation as of_installation
from tests.cluster.harness import Namespace
from tests.cluster.pages import a_terminal, type_page
from tests.docs.blocks import ALL, COMMANDS, Block
from tools import in_cluster
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster]

WITH_AN_OPERATOR = ("README.md", "docs/operating/gitops.md")
WITHOUT_LWS = ("docs/walkthrough.md",)
"""Where LeaderWorkerSet is not installed, besides."""


def test_every_page_with_commands_is_typed() -> None:
    pages = {block.page for block in ALL if block.language in COMMANDS and not block.not_run}

    assert pages == {*WITH_AN_OPERATOR, *WITHOUT_LWS, *of_installation.PAGES}


@pytest.mark.parametrize("page", WITH_AN_OPERATOR)
@pytest.mark.usefixtures("operator")
def test_a_page_says_what_happens(
    page: str, namespace: Namespace, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with a_terminal(namespace, tmp_path) as terminal:
        type_page(page, terminal, namespace.name, update=request.config.getoption("--update-golden"))


@pytest.mark.parametrize("page", WITHOUT_LWS)
@pytest.mark.usefixtures("without_lws", "operator")
def test_a_walk_ends_where_the_page_says(
    page: str, namespace: Namespace, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with a_terminal(namespace, tmp_path) as terminal:
        type_page(page, terminal, namespace.name, update=request.config.getoption("--update-golden"))


SHOWN = [block for block in ALL if block.language == "yaml" and not block.not_run and not block.refused]


def documents() -> Iterator[tuple[Block, dict[str, Any]]]:
    for block in SHOWN:
        for document in yaml.safe_load_all(block.text):
            if isinstance(document, dict) and "kind" in document:
                yield block, document


@pytest.mark.parametrize("document", [pytest.param(document, id=str(block)) for block, document in documents()])
def test_a_page_shows_what_the_api_server_takes(document: dict[str, Any], installed: Kubectl) -> None:
    cluster_wide = document["kind"].startswith("Cluster")

    installed.apply([document], "--dry-run=server", *(() if cluster_wide else ("-n", "default")))


@pytest.mark.parametrize("block", [pytest.param(each, id=str(each)) for each in SHOWN if each.title == "values.yaml"])
def test_values_on_a_page_are_the_charts(block: Block, kubeconfig: Path, tmp_path: Path) -> None:
    (tmp_path / block.title).write_text(block.text)

    in_cluster.helm(kubeconfig)("template", "shown", str(in_cluster.CHART), "--values", str(tmp_path / block.title))
