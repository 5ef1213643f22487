"""The pages' commands, typed as they stand, in order, page by page: they work, and answer what the page shows.

With --update-golden what is answered is written into the pages, where it differs by more than times and addresses.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import programs
from tests.cluster.harness import Namespace
from tests.docs.blocks import ALL, COMMANDS, ROOT, Block, blocks
from tests.docs.terminal import Terminal, Typed, masked, typed, written
from tools import in_cluster, operator_process
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster]

WITH_AN_OPERATOR = ("README.md", "docs/operating/gitops.md")
"""Pages that begin where it is installed."""
WITHOUT_LWS = ("docs/walkthrough.md",)
"""And where LeaderWorkerSet is not."""
FROM_THE_START = ("docs/quick-start.md", "docs/operating/install.md")
"""Pages that install it."""
LOOKS = ("kubectl get", "fusioninfer status", "fusioninfer explain", "fusioninfer chat", "fusioninfer check")
"""Commands that may be typed again until what the page shows is so."""
PATIENCE = 90.0
AT_REST = 10.0
"""Seconds without a change after which an answer is the one to show."""


def test_every_page_with_commands_is_typed() -> None:
    pages = {block.page for block in ALL if block.language in COMMANDS and not block.not_run}

    assert pages == {*WITH_AN_OPERATOR, *WITHOUT_LWS, *FROM_THE_START}


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


@pytest.mark.parametrize("page", WITH_AN_OPERATOR)
@pytest.mark.usefixtures("operator")
def test_a_page_says_what_happens(page: str, terminal: Terminal, answered: Answered) -> None:
    answered(page, terminal)


@pytest.mark.parametrize("page", WITHOUT_LWS)
@pytest.mark.usefixtures("without_lws", "operator")
def test_a_walk_ends_where_the_page_says(page: str, terminal: Terminal, answered: Answered) -> None:
    answered(page, terminal)


@pytest.mark.parametrize("page", FROM_THE_START)
@pytest.mark.usefixtures("bare")
def test_a_page_says_how_it_is_installed(page: str, terminal: Terminal, answered: Answered) -> None:
    answered(page, terminal)


Answered = Callable[[str, Terminal], None]


@pytest.fixture
def terminal(namespace: Namespace, kubeconfig: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal of a user whose kubectl is in the test's own namespace."""
    config = yaml.safe_load(kubeconfig.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace.name
    own = tmp_path / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    folders = (namespace.kubectl.program.parent, programs.path("helm").parent, Path(sys.executable).parent)
    path = ":".join((*map(str, folders), os.environ["PATH"]))
    folder = tmp_path / "clone"
    folder.mkdir()
    with Terminal(folder, {"KUBECONFIG": str(own), "PATH": path}) as opened:
        yield opened


@pytest.fixture
def bare(kubectl: Kubectl) -> Iterator[None]:
    """A cluster that has the operator's image and nothing else of it."""
    in_cluster.load_image()
    helm = in_cluster.helm(kubectl.kubeconfig)
    remove(kubectl)
    yield
    if helm("list", "--namespace", in_cluster.NAMESPACE, "--short").strip():
        helm("uninstall", in_cluster.RELEASE, "--namespace", in_cluster.NAMESPACE, "--wait")
    remove(kubectl)
    operator_process.install(kubectl)  # for the tests of other files, whose operator is a process


def remove(kubectl: Kubectl) -> None:
    for kind, label in (("crd", "inferenceservices.fusioninfer.io"), ("namespace", in_cluster.NAMESPACE)):
        kubectl("delete", kind, label, "--ignore-not-found", "--wait", "--timeout=60s")
    for kind, names in (
        ("clusterrolebinding", ("fusioninfer",)),
        ("clusterrole", ("fusioninfer", "fusioninfer-endpoint-picker")),
    ):
        kubectl("delete", kind, *names, "--ignore-not-found")


@pytest.fixture
def answered(namespace: Namespace, request: pytest.FixtureRequest) -> Answered:
    """Types a page's commands, and compares."""
    update = bool(request.config.getoption("--update-golden"))

    def run(page: str, terminal: Terminal) -> None:
        for block in blocks(ROOT / page):
            if block.language == "yaml" and block.title and not block.is_of_the_repository:
                (terminal.folder / block.title).write_text(block.text)
            elif block.not_run or block.language not in COMMANDS:
                continue
            elif block.language == "bash":
                said, code = terminal.type(block.text)
                assert code == 0, f"{block}: {said}"
            else:
                console(block, terminal, namespace.name, update)

    return run


def console(block: Block, terminal: Terminal, namespace: str, update: bool) -> None:
    seen = []
    for command in typed(block.text):
        answer = at_rest(command, terminal) if update else settled(command, terminal, namespace)
        answer = answer.replace(namespace, "default")
        seen.append(command if masked(answer) == masked(command.answer) else replace(command, answer=answer))
    shown = written(seen)
    if update and shown != block.text:
        path = ROOT / block.page
        path.write_text(path.read_text().replace(f"```console\n{block.text}```", f"```console\n{shown}```", 1))
        return
    assert shown == block.text, f"{block} says something else; --update-golden writes what is so"


def settled(command: Typed, terminal: Terminal, namespace: str) -> str:
    """What is answered; of a look, once it is what the page shows."""
    give_up = time.monotonic() + PATIENCE
    while True:
        answer, _ = terminal.type(command.command)
        is_so = masked(answer.replace(namespace, "default")) == masked(command.answer)
        if is_so or not command.command.startswith(LOOKS) or time.monotonic() > give_up:
            return answer
        time.sleep(0.5)


def at_rest(command: Typed, terminal: Terminal) -> str:
    """What is answered; of a look, once it has not changed for a while."""
    answer, _ = terminal.type(command.command)
    since, give_up = time.monotonic(), time.monotonic() + PATIENCE
    while command.command.startswith(LOOKS) and time.monotonic() < min(since + AT_REST, give_up):
        time.sleep(0.5)
        now, _ = terminal.type(command.command)
        if masked(now) != masked(answer):
            since = time.monotonic()
        answer = now
    return answer
