"""Nothing on the pages is only said: YAML is read as the operator reads it, and files are shown as they are."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml
from typer.main import get_command

from fusioninfer.cli.lint import findings_of
from fusioninfer.cli.main import app
from tests.docs.blocks import ALL, COMMANDS, PAGES, ROOT, Block
from tests.docs.services import is_part, is_service, whole
from tests.make import ENGINES, STRATEGIES

LANGUAGES = {*COMMANDS, "yaml", "python", "toml", "dockerfile", "promql", ""}
"""The last: drawings and words, of which nothing can be run."""

of_yaml = [pytest.param(block, id=str(block)) for block in ALL if block.language == "yaml"]
with_files = [pytest.param(block, id=str(block)) for block in ALL if block.is_of_the_repository]


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    assert {block.language for block in ALL} <= LANGUAGES
    unclear = [str(block) for block in ALL if block.said and not (block.not_run or block.refused)]
    assert [each for each in unclear if "generated" not in each] == []


@pytest.mark.parametrize("block", with_files)
def test_what_names_a_file_stands_in_it(block: Block) -> None:
    assert block.text in (ROOT / block.title).read_text()


def test_code_is_shown_from_files_alone() -> None:
    assert [
        str(block) for block in ALL if block.language in ("python", "toml") and not block.is_of_the_repository
    ] == []


@pytest.mark.parametrize("block", of_yaml)
def test_yaml_is_a_service_a_part_of_one_or_is_tried_otherwise(block: Block) -> None:
    if block.is_of_the_repository and not block.title.startswith("examples/"):
        return
    documents = list(yaml.safe_load_all(block.text))

    services = [each if is_service(each) else whole(each) for each in documents if is_service(each) or is_part(each)]

    for service in services:
        refusals = [
            str(finding) for finding in findings_of(str(block), service, ENGINES, STRATEGIES) if finding.is_refusal
        ]
        assert bool(refusals) == bool(block.refused), refusals
        assert not block.refused or block.refused in " ".join(refusals)
    others = [each for each in documents if not is_service(each) and not is_part(each)]
    assert block.not_run or block.title == "values.yaml" or all("kind" in each for each in others)  # on the cluster


def test_the_readme_begins_with_the_example_for_any_cluster() -> None:
    first = next(block for block in ALL if block.page == "README.md" and block.language == "yaml")

    assert first.text == (ROOT / "examples/cpu.yaml").read_text()


# --- what is typed ------------------------------------------------------------------------------------------------

INLINE = re.compile(r"`((?:fusioninfer|make|python -m testbed) [^`]+)`")


def typed() -> list[tuple[str, str]]:
    """Every command of ours on the pages, in blocks and in the prose, with its page."""
    found = [
        (str(path.relative_to(ROOT)), command)
        for path in PAGES
        if "reference/" not in str(path)
        for command in INLINE.findall(path.read_text())
    ]
    for block in ALL:
        if block.language in COMMANDS:
            lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
            commands = [
                line.removeprefix("$ ").strip() for line in lines if block.language == "bash" or line[:2] == "$ "
            ]
            found += [(str(block), line) for line in commands]
    return found


def test_commands_of_ours_exist_with_their_options() -> None:
    group = get_command(app)
    commands = {name: group.get_command(None, name) for name in group.list_commands(None)}  # type: ignore[attr-defined] # typer's own group
    unknown = []
    for where, line in typed():
        words = line.split()
        if words[0] != "fusioninfer" or len(words) < 2:
            continue
        if words[1].startswith("-") or words[1].isupper() or words[1] == "…":
            continue
        command = commands.get(words[1])
        options = (
            {spelling for each in command.params for spelling in (*each.opts, *each.secondary_opts)}
            if command
            else set()
        )
        options |= {"--help"}
        wrong = [word for word in words[2:] if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options]
        if command is None or wrong:
            unknown.append(f"{where}: {line}")
    assert unknown == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {(where, line.split()[1]) for where, line in typed() if line.startswith("make ")}

    assert {(where, target) for where, target in asked if target not in targets} == set()


def test_what_no_test_runs_says_why_and_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A new one is no accident: the number here has to be raised."""
    excused = Counter(block.page for block in ALL if block.not_run)
    with capsys.disabled():
        for block in ALL:
            if block.not_run:
                print(f"\nnot run: {block}: {block.not_run}", end="")

    assert sum(excused.values()) == NOT_RUN


NOT_RUN = 12
