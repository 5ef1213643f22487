"""How words get onto a terminal, or into a file: colours and lines of its width there, neither here."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType

UNBROKEN = 10_000
"""Columns of what is no terminal: a line there is broken by nobody."""


def console(*, err: bool = False) -> Console:
    """Standard output, or standard error. $NO_COLOR and $COLUMNS count."""
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else UNBROKEN
    return Console(file=stream, width=width, highlight=False, emoji=False)


def put(shown: RenderableType, console: Console) -> None:
    """Print it; into a file without the blanks with which tables end their lines."""
    if console.is_terminal:
        console.print(shown)
        return
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def age(since: str, now: datetime) -> str:
    """How long ago `since` (RFC 3339) was, as kubectl writes it: in one or two units; empty if it is not known."""
    if not since:
        return ""
    passed = max(now - datetime.fromisoformat(since), timedelta(0))
    seconds = int(passed.total_seconds())
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 600:
        return f"{seconds // 60}m{seconds % 60}s" if seconds % 60 else f"{seconds // 60}m"
    if seconds < 3 * 3600:
        return f"{seconds // 60}m"
    if seconds < 48 * 3600:
        return f"{seconds // 3600}h"
    return f"{seconds // 86400}d"


def utc_now() -> datetime:
    return datetime.now(UTC)
