"""Whole services and all that is made of them: `service.yaml` → `desired.yaml`, to be read as a specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusioninfer.cli.render import rendered
from tests.make import ENGINES, STRATEGIES

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_service_makes_what_its_golden_file_says(case: str, request: pytest.FixtureRequest) -> None:
    text = "".join(rendered((GOLDEN / case / "service.yaml").read_text(), ENGINES, STRATEGIES, "default"))
    golden = GOLDEN / case / "desired.yaml"
    if request.config.getoption("--update-golden"):
        golden.write_text(text)

    assert text == golden.read_text()
