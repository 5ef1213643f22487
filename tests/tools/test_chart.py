"""The chart's generated files, and that its versions are FusionInfer's own."""

from __future__ import annotations

import pytest
import yaml

from tools import chart, image


@pytest.mark.parametrize("name", chart.generated())
def test_generated_files_are_what_the_code_says_today(name: str) -> None:
    assert (chart.FILES / name).read_text() == chart.generated()[name], "run: make generate"


def test_versions_are_those_of_the_package() -> None:
    described = yaml.safe_load((chart.FILES.parent / "Chart.yaml").read_text())

    assert (described["version"], described["appVersion"]) == (image.version(), image.version())
