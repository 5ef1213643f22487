"""Options: one list, from which flags and environment are made."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer
from typer.testing import CliRunner

from fusioninfer.daemon.settings import LogFormat, Settings, as_command, variable


def read(*arguments: str, **environment: str) -> Settings:
    """The settings that a command line with `environment` means; raises SystemExit if it is refused."""
    seen: list[Settings] = []
    app = typer.Typer(add_completion=False)
    app.command()(as_command(seen.append))
    result = CliRunner().invoke(app, arguments, env=environment)
    if result.exit_code:
        raise SystemExit(result.output)
    return seen[0]


def test_nothing_said_means_the_defaults() -> None:
    assert read() == Settings()


def test_flags_win_over_the_environment_which_wins_over_defaults() -> None:
    seen = read("--workers", "3", FUSIONINFER_WORKERS="4", FUSIONINFER_PORT="9090")

    assert (seen.workers, seen.port) == (3, 9090)


def test_election_can_be_turned_off() -> None:
    assert not read("--no-leader-election").leader_election
    assert not read(FUSIONINFER_LEADER_ELECTION="false").leader_election


def test_choices_are_read_as_such() -> None:
    assert read("--log-format", "console").log_format is LogFormat.CONSOLE


@pytest.mark.parametrize("flag", [("--workers", "0"), ("--port", "65536"), ("--log-level", "loud")])
def test_impossible_values_are_refused(flag: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match=flag[0]):
        read(*flag)


def test_every_option_has_a_flag_a_variable_and_a_meaning() -> None:
    with pytest.raises(IndexError):  # help was shown, nothing was run
        read("--help")
    app = typer.Typer(add_completion=False)
    app.command()(as_command(lambda _: None))
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output

    for option in fields(Settings):
        assert f"--{option.name.replace('_', '-')}" in shown
        assert variable(option.name) in shown
