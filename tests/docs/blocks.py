"""What stands in fences on the pages: YAML, commands and code, and what a comment before it says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(
    r"(?P<comment><!--(?P<said>(?:(?!-->).)*)-->\s*\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fence."""

    page: str
    """From the repository's root."""
    line: int
    language: str
    title: str
    """A file of the repository that holds it, or one that the reader writes it into; empty: neither."""
    said: str
    """The comment right before it."""
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def not_run(self) -> str:
        """Why no test runs it; empty: one does."""
        return self._said("not run")

    @property
    def refused(self) -> str:
        """Part of the words with which it is refused, and meant to be."""
        return self._said("refused")

    @property
    def is_of_the_repository(self) -> bool:
        """It shows a file, or a part of one."""
        return (ROOT / self.title).is_file() if self.title else False

    def _said(self, mark: str) -> str:
        found = re.fullmatch(rf"\s*{mark}: (.+?)\s*", self.said, re.DOTALL)
        return " ".join(found[1].split()) if found else ""


def blocks(path: Path) -> Iterator[Block]:
    """The fences of a page, in order."""
    text = path.read_text()
    for found in _FENCE.finditer(text):
        yield Block(
            page=str(path.relative_to(ROOT)),
            line=text.count("\n", 0, found.start("indent")) + 1,
            language=found["language"],
            title=found["title"] or "",
            said=found["said"] or "",
            text=re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
        )


ALL = tuple(block for page in PAGES for block in blocks(page))
COMMANDS = ("bash", "console")
"""Languages of what is typed: as a script, or with what is answered."""
