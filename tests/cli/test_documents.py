"""The services in files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fusioninfer.cli.documents import complaint, files_of, named, services_in

SERVICE = "apiVersion: fusioninfer.io/v1alpha1\nkind: InferenceService\nmetadata: {name: demo}\n"


def test_a_folder_stands_for_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("b.yaml", "a.yml", "deeper/c.json", "notes.txt"):
        (tmp_path / name).write_text("")

    found = [Path(file).relative_to(tmp_path).as_posix() for file in files_of([str(tmp_path)])]

    assert found == ["a.yml", "b.yaml", "deeper/c.json"]
    assert list(files_of(["-", "not/there.yaml"])) == ["-", "not/there.yaml"]


def test_other_kinds_are_passed_over_and_lists_are_opened() -> None:
    inside = SERVICE.replace("demo", "listed").replace("\n", "\n  ")
    text = f"{SERVICE}---\nkind: ConfigMap\n---\nkind: List\nitems:\n- {inside}\n---\n"

    assert [named(raw) for raw in services_in(text)] == ["demo", "listed"]


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(yaml.YAMLError) as refusal:
        list(services_in(f"{SERVICE}spec: {{}}\nspec: {{}}\n"))

    assert complaint(refusal.value) == "line 5, column 1: the key 'spec' stands twice; remove one"


def test_a_date_stays_a_text() -> None:
    (raw,) = services_in(f"{SERVICE}spec: {{day: 2026-11-24}}\n")

    assert raw["spec"] == {"day": "2026-11-24"}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        pytest.param({"metadata": {"name": "a", "namespace": "b"}}, "b/a", id="both"),
        pytest.param({"metadata": {"name": "a"}}, "a", id="no namespace"),
        pytest.param({"metadata": "a"}, "(no name)", id="nonsense"),
    ],
)
def test_what_a_service_is_called(raw: dict[str, object], name: str) -> None:
    assert named(raw) == name
