"""A page's commands, typed as they stand, in order: they work, and answer what the page shows.

With --update-golden what is answered is written into the page, where it differs by more than times and addresses.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from testbed import programs
from tests.cluster.harness import Namespace
from tests.docs.blocks import COMMANDS, ROOT, Block, blocks
from tests.docs.terminal import Terminal, Typed, masked, typed, written

LOOKS = ("kubectl get", "fusioninfer status", "fusioninfer explain", "fusioninfer chat", "fusioninfer check")
"""Commands that may be typed again until what the page shows is so."""
PATIENCE = 90.0
AT_REST = 10.0
"""Seconds without a change after which an answer is the one to show."""


@contextmanager
def a_terminal(namespace: Namespace, folder: Path) -> Iterator[Terminal]:
    """A terminal in `folder`, of a user whose kubectl is in `namespace`."""
    config = yaml.safe_load(namespace.kubectl.kubeconfig.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace.name
    own = folder / "kubeconfig"
    own.write_text(yaml.safe_dump(config))
    folders = (namespace.kubectl.program.parent, programs.path("helm").parent, Path(sys.executable).parent)
    path = ":".join((*map(str, folders), os.environ["PATH"]))
    clone = folder / "clone"
    clone.mkdir()
    with Terminal(clone, {"KUBECONFIG": str(own), "PATH": path}) as terminal:
        yield terminal


def type_page(page: str, terminal: Terminal, namespace: str, *, update: bool) -> None:
    """Type all that `page` has its reader type; what it says of `default` is so of `namespace`."""
    for block in blocks(ROOT / page):
        if block.language == "yaml" and block.title and not block.is_of_the_repository:
            (terminal.folder / block.title).write_text(block.text)
        elif block.not_run or block.language not in COMMANDS:
            continue
        elif block.language == "bash":
            said, code = terminal.type(block.text)
            assert code == 0, f"{block}: {said}"
        else:
            _console(block, terminal, namespace, update)


def _console(block: Block, terminal: Terminal, namespace: str, update: bool) -> None:
    seen = []
    for command in typed(block.text):
        answer = _at_rest(command, terminal) if update else _settled(command, terminal, namespace)
        answer = _elsewhere(answer, namespace)
        seen.append(command if masked(answer) == masked(command.answer) else replace(command, answer=answer))
    shown = written(seen)
    if update and shown != block.text:
        path = ROOT / block.page
        path.write_text(path.read_text().replace(f"```console\n{block.text}```", f"```console\n{shown}```", 1))
        return
    assert shown == block.text, f"{block} says something else; --update-golden writes what is so:\n{shown}"


def _elsewhere(answer: str, namespace: str) -> str:
    """As the reader has it: in the namespace default, and with an operator in a pod."""
    return answer.replace(namespace, "default").replace(f"operator: {socket.gethostname()}_", "operator: fusioninfer_")


def _settled(command: Typed, terminal: Terminal, namespace: str) -> str:
    """What is answered; of a look, once it is what the page shows."""
    give_up = time.monotonic() + PATIENCE
    while True:
        answer, _ = terminal.type(command.command)
        is_so = masked(_elsewhere(answer, namespace)) == masked(command.answer)
        if is_so or not command.command.startswith(LOOKS) or time.monotonic() > give_up:
            return answer
        time.sleep(0.5)


def _at_rest(command: Typed, terminal: Terminal) -> str:
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
