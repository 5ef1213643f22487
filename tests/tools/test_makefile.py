"""`make help` lists every target, each with what it does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

MAKEFILE = Path("Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.M))
"""Those that people type; what is made as a file is named by a variable."""


def test_help_explains_every_target() -> None:
    told = subprocess.run(["make", "help"], capture_output=True, text=True, check=True).stdout
    explained = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", told, re.M))

    assert TARGETS
    assert explained.keys() == TARGETS


def test_no_target_is_taken_for_a_file_of_its_name() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)

    assert set(phony.split()) == TARGETS


def test_pre_commit_runs_what_check_runs() -> None:
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    hooks = re.findall(r"^    entry: \.venv/bin/(.*)$", Path(".pre-commit-config.yaml").read_text(), re.M)

    assert [line.removeprefix("\t$(BIN)/") for line in recipe.splitlines()] == hooks


def test_a_release_says_its_version_is_installed_anew_and_is_made() -> None:
    words = ["make", "--dry-run", "VENV=.elsewhere", "-o", ".elsewhere/.installed", "release", "VERSION=1.2.3"]
    planned = subprocess.run(words, capture_output=True, text=True, check=True).stdout

    steps = [line for line in planned.splitlines() if "tools.release" in line or "make " in line]
    assert [re.sub(r".*?(tools\.release \w+ \S+|\.elsewhere/\.installed)$", r"\1", step) for step in steps] == [
        'tools.release say "1.2.3"', ".elsewhere/.installed", 'tools.release make "1.2.3"',
    ]  # fmt: skip
