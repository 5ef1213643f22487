"""A terminal in which a page's commands are typed one after the other, and what of its answers may differ each time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.docs.blocks import ROOT

COLUMNS = 100
"""What the site shows of a line without scrolling."""
SECONDS = 180
"""For one command."""

_MASKS = (
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>"),
    (r"\b(?:[0-9]+\.){3}[0-9]+\b", "<address>"),
    (r"\b(?:[0-9]+[smhd]){1,2}\b", "<age>"),
    (r"-[0-9a-f]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-<pod>"),
    (r"\b[0-9]+ restarts?\b", "<n> restarts"),
    (r"(?<= )x[0-9]+(?=, )", "<often>"),
    (r"operator: \S+ leads", "operator: <pod> leads"),
    (r"[0-9]+/[0-9]+ nodes are available: .*?(?: is not helpful for scheduling)", "<the scheduler's words>"),
)


@dataclass(frozen=True, slots=True)
class Typed:
    """One command of a console block, and what the page says it answers."""

    command: str
    answer: str


def typed(text: str) -> Iterator[Typed]:
    """The commands of a console block: lines after `$ `, which go on after a backslash."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        found = re.match(r"(?P<command>(?:[^\n]*\\\n)*[^\n]*)\n?(?P<answer>.*)", part, re.DOTALL)
        assert found is not None
        yield Typed(found["command"], found["answer"])


def written(commands: list[Typed]) -> str:
    """The text of a console block."""
    return "".join(f"$ {each.command}\n{each.answer}" for each in commands)


def masked(answer: str) -> str:
    """`answer` without what differs from time to time: times, addresses, drawn names, and where lines break."""
    told = " ".join(answer.translate(_DRAWN).split())
    for pattern, instead in _MASKS:
        told = re.sub(pattern, instead, told)
    return told


_DRAWN = str.maketrans("", "", "│├└─")
"""What a tree is drawn with: where it stands depends on where lines break."""


class Terminal:
    """A shell in a folder of its own, beside the repository's files, as a reader has it in a clone."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        for name in ("examples", "charts"):
            (folder / name).symlink_to(ROOT / name)
        self.folder = folder
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env={**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the shell, and what it left running."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()

    def type(self, command: str) -> tuple[str, int]:
        """What the command answers on both streams, and its exit code, which `$?` says to the next one too."""
        end = uuid.uuid4().hex
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\n__code=$?; echo; echo {end} $__code; (exit $__code)\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        give_up = time.monotonic() + SECONDS
        for line in self._shell.stdout:
            if line.startswith(end):
                return "".join(lines).removesuffix("\n"), int(line.split()[1])
            lines.append(line)
            assert time.monotonic() < give_up, f"{command}: no end after {SECONDS} s"
        raise AssertionError(f"{command}: the shell has ended: {''.join(lines)}")
