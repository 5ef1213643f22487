"""The chart's generated files, and that its versions are FusionInfer's own."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml

from fusioninfer.daemon.settings import Settings, variable
from tools import chart, image, in_cluster
from tools.in_cluster import Helm


@pytest.mark.parametrize("name", chart.generated())
def test_generated_files_are_what_the_code_says_today(name: str) -> None:
    assert (chart.FILES / name).read_text() == chart.generated()[name], "run: make generate"


def test_versions_are_those_of_the_package() -> None:
    described = yaml.safe_load((chart.FILES.parent / "Chart.yaml").read_text())

    assert (described["version"], described["appVersion"]) == (image.version(), image.version())


@pytest.fixture(scope="module")
def helm() -> Helm:
    """helm, asked nothing that needs a cluster."""
    return in_cluster.helm(in_cluster.NO_CLUSTER)


def test_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(in_cluster.CHART))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("replicas=0", "minimum"),
        ("operator.logLevel=loud", "logLevel"),
        ("image.digest=latest", "digest"),
    ],
)
def test_values_that_mean_nothing_are_refused(helm: Helm, setting: str, said: str) -> None:
    with pytest.raises(in_cluster.Complaint, match=said):
        helm("template", in_cluster.RELEASE, str(in_cluster.CHART), "--set", setting)


def test_every_value_is_described_by_the_schema_and_has_a_default() -> None:
    values = yaml.safe_load((in_cluster.CHART / "values.yaml").read_text())
    schema = json.loads((in_cluster.CHART / "values.schema.json").read_text())

    assert values.keys() == schema["properties"].keys() - {"global"}
    for name, described in schema["properties"].items():
        if described.get("additionalProperties") is False:
            assert values[name].keys() == described["properties"].keys()


def test_the_image_is_what_the_values_say(helm: Helm) -> None:
    digest = f"sha256:{'0' * 64}"
    settings = ("--set", "image.repository=registry.example/fi", "--set", f"image.digest={digest}")

    rendered = helm("template", in_cluster.RELEASE, str(in_cluster.CHART), *settings)

    (deployment,) = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/fi@{digest}"


def test_every_setting_of_the_deployment_is_one_of_the_operators(helm: Helm) -> None:
    rendered = helm("template", in_cluster.RELEASE, str(in_cluster.CHART))

    (deployment,) = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    known = {variable(option.name) for option in dataclasses.fields(Settings)}
    assert {each["name"] for each in container["env"]} <= known
