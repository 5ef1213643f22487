"""What the site has beside docs/: the pages at the root of the repository, and the list of decisions (hook of MkDocs).

The pages at the root are written for whoever opens the repository; here only their links are led to the site's pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
AT_THE_ROOT = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
DECISIONS = "decisions.md"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    for name in AT_THE_ROOT:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, DECISIONS, content=decisions(ROOT / "docs/decisions")))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Lead links from the root into docs/."""
    return led_to_site(markdown) if page.file.src_uri in AT_THE_ROOT else markdown


def led_to_site(markdown: str) -> str:
    """`markdown` of a page at the root, whose links to docs/ are links within it."""
    return markdown.replace("](docs/decisions)", f"]({DECISIONS})").replace("](docs/", "](")


def decisions(folder: Path) -> str:
    """The page that lists the decisions in `folder`."""
    lines = [f"- [{_title(path.read_text())}](decisions/{path.name})" for path in sorted(folder.glob("[0-9]*.md"))]
    return "\n".join(["# Decisions", "", "What was decided, when, and at what price.", "", *lines, ""])


def _title(text: str) -> str:
    """A decision's heading, its number in one form."""
    heading = text.partition("\n")[0].lstrip("# ")
    number, title = re.split(r"[.:]\s*", heading, maxsplit=1)
    return f"{int(number)}. {title}"
