"""What `fusioninfer` says of itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from fusioninfer.cli.main import app


def test_its_version_is_pyprojects() -> None:
    said = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]

    result = CliRunner().invoke(app, ["--version"])

    assert (result.exit_code, result.output) == (0, f"fusioninfer {said}\n")
