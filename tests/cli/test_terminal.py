"""How words get onto a terminal, or into a file."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusioninfer.cli.terminal import age, console, put
from tests.cli.seen import NOON


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("2026-11-24T11:59:59Z", "1s"),
        ("2026-11-24T11:58:01Z", "119s"),
        ("2026-11-24T11:55:00Z", "5m"),
        ("2026-11-24T11:54:30Z", "5m30s"),
        ("2026-11-24T10:00:00Z", "120m"),
        ("2026-11-23T12:00:00Z", "24h"),
        ("2026-11-20T12:00:00Z", "4d"),
        ("2026-11-24T12:00:05Z", "0s"),
        ("", ""),
    ],
)
def test_how_long_ago_something_was(since: str, words: str) -> None:
    assert age(since, NOON) == words


def a_table() -> Table:
    found = Table(box=None, show_header=False, padding=0)
    found.add_row(Text("short", "red"))
    found.add_row("a longer one")
    return found


def test_a_file_gets_no_colours_and_no_blanks_at_the_ends_of_lines() -> None:
    file = StringIO()

    put(a_table(), Console(file=file, width=100))

    assert file.getvalue() == "short\na longer one\n"


def test_a_terminal_gets_colours_unless_it_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured, plain = StringIO(), StringIO()

    put(a_table(), Console(file=coloured, force_terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    put(a_table(), Console(file=plain, force_terminal=True))

    assert "\x1b[31mshort" in coloured.getvalue()
    assert "\x1b[31m" not in plain.getvalue()


def test_lines_in_a_file_are_broken_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width > 1000

    monkeypatch.setenv("COLUMNS", "60")
    assert console().width == 60
