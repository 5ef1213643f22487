"""The reference says what the code says."""

from __future__ import annotations

import pytest

from tools import reference

PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_fresh(name: str) -> None:
    """If it is not: `make generate`."""
    assert PAGES[name] == (reference.WRITTEN_TO / name).read_text()


def test_every_field_and_every_command_is_in_it() -> None:
    api, cli = PAGES["api.md"], PAGES["cli.md"]

    assert all(f"| `{field}` |" in api for field in ("roles", "replicas", "maxSurge", "connector", "lastFailure"))
    assert all(f"## fusioninfer {command}\n" in cli for command in ("operator", "lint", "render", "status"))
    assert "FUSIONINFER_WORKERS" in cli
