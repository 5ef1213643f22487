"""`fusioninfer render` and `crd`: what a person sees without any cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fusioninfer.api import crd
from fusioninfer.cli.main import app
from fusioninfer.cli.render import rendered
from tests import make

RUNNER = CliRunner()
EXAMPLE = Path(__file__).parents[2] / "examples" / "cpu.yaml"


def test_an_example_is_rendered_with_the_reason_for_its_engine() -> None:
    result = RUNNER.invoke(app, ["render", "-f", str(EXAMPLE), "-n", "llm"])

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# role inference: engine custom in container engine, since spec.engine says so")
    kinds = [(m["kind"], m["metadata"]["namespace"]) for m in yaml.safe_load_all(result.stdout)]
    assert kinds == [("Service", "llm"), ("StatefulSet", "llm")]


@pytest.mark.parametrize("example", sorted(EXAMPLE.parent.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_rendered(example: Path) -> None:
    assert "".join(rendered(example.read_text(), make.ENGINES, make.STRATEGIES, "llm"))


def test_standard_input_is_read_and_other_kinds_are_passed_over() -> None:
    text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n---\n" + EXAMPLE.read_text()

    result = RUNNER.invoke(app, ["render", "-f", "-"], input=text)

    assert result.exit_code == 0
    assert "ConfigMap" not in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("kind: ConfigMap\n", "holds no InferenceService", id="no service"),
        pytest.param("a: [", "line 1, column 5: expected the node content", id="no YAML"),
        pytest.param(
            yaml.safe_dump(make.raw_service(make.a_role(replicas=-1))), "spec.roles[0].replicas", id="refused"
        ),
        pytest.param(
            yaml.safe_dump(make.raw_service(make.a_role(template=make.a_template(make.a_container(imagee="x"))))),
            "spec.roles[0].template.spec.containers[0].imagee",
            id="typo in the template",
        ),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_words(text: str, words: str) -> None:
    result = RUNNER.invoke(app, ["render", "-f", "-"], input=text)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr


def test_a_file_that_is_not_there_is_named() -> None:
    result = RUNNER.invoke(app, ["render", "-f", "/nowhere.yaml"])

    assert result.exit_code == 2
    assert "/nowhere.yaml" in result.stderr


def test_the_crd_is_printed_as_kubectl_takes_it() -> None:
    result = RUNNER.invoke(app, ["crd"])

    assert yaml.safe_load(result.stdout) == crd.custom_resource_definition()


def test_the_rights_are_printed() -> None:
    kinds = [manifest["kind"] for manifest in yaml.safe_load_all(RUNNER.invoke(app, ["rbac"]).stdout)]

    assert "ClusterRole" in kinds
    assert "ServiceAccount" in kinds
