"""`fusioninfer lint`: all that is wrong in files, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fusioninfer.cli.lint import Finding, findings_of, linted, value_at
from fusioninfer.cli.main import app
from tests import make
from tests.refusals import REFUSALS, Refusal

RUNNER = CliRunner()


def found(raw: dict[str, Any]) -> list[Finding]:
    return list(findings_of("f.yaml", raw, make.ENGINES, make.STRATEGIES))


def words(raw: dict[str, Any]) -> list[str]:
    return [str(finding) for finding in found(raw)]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_what_the_api_server_or_the_operator_refuses_is_refused(refusal: Refusal) -> None:
    refused = [finding for finding in found(refusal.service) if finding.is_refusal]

    assert refused
    if refusal.parse_says is not None:  # of which the schema may name the field more exactly
        assert any(finding.field.startswith(refusal.field.removesuffix("[...]")) for finding in refused)


def test_a_line_names_file_service_field_value_and_what_to_do() -> None:
    raw = make.raw_service(make.a_role(replicas=2, roleReplicas=3))

    assert words(raw) == [
        "f.yaml: default/qwen: refused: spec.roles[0].roleReplicas = 3: 3 disagrees with replicas 2; "
        "they are two spellings of one thing: remove one"
    ]


def test_all_refusals_of_a_service_are_said_at_once() -> None:
    no_image = {"name": "engine"}
    prefiller, decoder = make.prefill_and_decode()
    prefiller |= {"replica": 1, "template": make.a_template(no_image)}
    decoder |= {"strategy": "prefix-cache", "metadata": {"labels": {"fusioninfer.io/role": "x"}}}
    raw = make.raw_service(prefiller, decoder, name="Qwen")

    assert [finding.field for finding in found(raw)] == [
        "spec.roles[0].replica",
        "metadata.name",
        "spec.roles[1].strategy",
        "spec.roles[0].template.spec.containers[0].image",
        "spec.roles[1].metadata.labels.fusioninfer.io/role",
    ]


def test_what_only_engines_refuse_is_said_of_each_role() -> None:
    prefiller, decoder = make.prefill_and_decode()
    for role in (prefiller, decoder):
        role["engine"] = "none"

    assert [finding.field for finding in found(make.raw_service(prefiller, decoder))] == [
        "spec.roles[0].engine",
        "spec.roles[1].engine",
    ]


def test_one_thing_is_said_once() -> None:
    assert len(found(make.raw_service(make.a_role(replicas="two")))) == 1
    assert len(found(make.raw_service(make.a_role(template=make.a_template({"image": "x"}))))) == 1


def test_a_service_without_a_name_is_refused() -> None:
    raw = make.raw_service()
    del raw["metadata"]["name"]

    assert words(raw) == ["f.yaml: default: refused: metadata.name: is missing; it names the Service"]


def test_what_looks_like_a_mistake_is_a_warning() -> None:
    custom = make.a_container(image="mine", args=["serve"])

    (warning,) = found(make.raw_service(make.a_role(template=make.a_template(custom))))

    assert not warning.is_refusal
    assert warning.field == "spec.roles[0]"
    assert warning.problem.startswith("role inference: engine custom is assumed")


def test_a_long_value_is_cut_and_a_large_one_is_left_out() -> None:
    raw = make.raw_service(make.a_role(engine="x" * 64, metadata={"labels": "a" * 10}), make.a_role(name="b" * 8))
    values = {finding.field: finding.value for finding in found(raw)}

    assert len(values["spec.roles[0].engine"]) == 60
    assert values["spec.roles[0].engine"].endswith("x…")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.roles[0].name", "inference", id="by number"),
        pytest.param("spec.roles[inference].replicas", 1, id="by name"),
        pytest.param("metadata.labels.a.b/c", "d", id="a key with a dot"),
    ],
)
def test_the_value_at_a_path(path: str, value: object) -> None:
    raw = make.raw_service()
    raw["metadata"]["labels"] = {"a.b/c": "d", "a": {"b/c": "no"}}

    assert value_at(raw, path) == value


# --- files and exit codes -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good file, one with a refusal, one with a warning."""
    custom = make.a_container(image="mine", args=["serve"])
    for name, role in (
        ("good", make.a_role()),
        ("refused", make.a_role(replicas=-1)),
        ("warned", make.a_role(template=make.a_template(custom))),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(make.raw_service(role, name=name)))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["-f", "good.yaml"], 0, id="clean"),
        pytest.param(["-f", "warned.yaml"], 0, id="warnings"),
        pytest.param(["-f", "warned.yaml", "--strict"], 1, id="warnings count"),
        pytest.param(["-f", "good.yaml", "-f", "refused.yaml"], 2, id="refused"),
        pytest.param(["-f", ".", "--strict"], 2, id="a folder"),
        pytest.param(["-f", "nowhere.yaml"], 2, id="no such file"),
    ],
)
def test_exit_codes(words: list[str], code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    result = RUNNER.invoke(app, ["lint", *words])

    assert result.exit_code == code, result.output


def test_every_file_of_a_folder_is_read_and_counted(folder: Path) -> None:
    report = linted([str(folder)], make.ENGINES, make.STRATEGIES)

    assert [Path(finding.file).name for finding in report.findings] == ["refused.yaml", "warned.yaml"]
    assert str(report) == "3 InferenceServices in 3 files: 1 refusal, 1 warning"


def test_a_file_that_is_no_yaml_is_named_with_the_line_and_the_others_are_read(folder: Path) -> None:
    (folder / "broken.yaml").write_text("a:\n  b: [\n")

    result = RUNNER.invoke(app, ["lint", "-f", str(folder)])

    assert result.exit_code == 2
    assert f"{folder / 'broken.yaml'}: refused: line 3, column 1: " in result.stdout
    assert "default/refused: refused: spec.roles[0].replicas = -1: must be at least 0" in result.stdout


def test_nothing_to_look_at_is_a_mistake() -> None:
    result = RUNNER.invoke(app, ["lint", "-f", "-"], input="kind: ConfigMap\n")

    assert result.exit_code == 2
    assert "-: refused: holds no InferenceService of fusioninfer.io/v1alpha1" in result.stdout


@pytest.mark.parametrize(
    "example", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda p: p.name
)
def test_examples_are_clean(example: Path) -> None:
    from fusioninfer.build import engines

    refused = [f for f in linted([str(example)], engines.installed(), make.STRATEGIES).findings if f.is_refusal]

    assert refused == []
