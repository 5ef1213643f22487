"""The site is built without a warning, and asks nobody but itself for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tools import site

FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?P<src>https?:)?//"""
    r"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev))[^>]*\bhref=["']?(?:https?:)?//"""
    r"""|@import\s+["']?(?:url\()?["']?(?:https?:)?//|url\(["']?(?:https?:)?//""",
    re.IGNORECASE,
)
"""What a browser fetches by itself; links that a reader may follow are none."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(  # not --quiet, which hears no warnings
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    files = [file for file in built.rglob("*") if file.suffix in (".html", ".css")]

    foreign = {str(file.relative_to(built)): found[0] for file in files if (found := FETCHED.search(file.read_text()))}

    assert len(files) > 30
    assert foreign == {}
    # The theme's script fetches what draws diagrams, if there is one.
    assert [file.name for file in files if 'class="mermaid"' in file.read_text()] == []


def test_what_would_be_fetched_is_found() -> None:
    assert FETCHED.search('<link rel="stylesheet" href="https://fonts.example/css">')
    assert FETCHED.search('<script async src="//cdn.example/x.js">')
    assert FETCHED.search("a { background: url(https://example/x.png) }")
    assert not FETCHED.search('<a href="https://example">')
    assert not FETCHED.search('<link rel="icon" href="x.svg">')


def test_every_page_of_the_folder_and_the_root_is_in_it(built: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    pages |= {Path(name).with_suffix(".html") for name in site.AT_THE_ROOT}

    assert {str(page) for page in pages if not (built / page).exists()} == set()


def test_decisions_are_listed_in_their_order() -> None:
    lines = [line for line in site.decisions(ROOT / "docs/decisions").splitlines() if line.startswith("- ")]

    assert (
        lines[0]
        == "- [1. Available turning True may wait one second for Ready](decisions/0001-available-may-wait-a-second.md)"
    )
    assert [int(line[3:].partition(".")[0]) for line in lines] == list(range(1, len(lines) + 1))


def test_links_of_pages_at_the_root_lead_within_the_site() -> None:
    assert site.led_to_site("[a](docs/pd.md) [b](docs/decisions)") == "[a](pd.md) [b](decisions.md)"
