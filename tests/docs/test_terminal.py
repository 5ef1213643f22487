"""What runs the pages' commands: that it reads them as they stand, and overlooks nothing but what may differ."""

from __future__ import annotations

from pathlib import Path

from tests.docs.terminal import Terminal, Typed, masked, typed, written

TEXT = "$ echo a \\\n  b\na b\n$ false\n$ kubectl get fi\nNAME   AGE\ndemo   12s\n"


def test_commands_are_read_with_their_answers_and_written_back() -> None:
    commands = list(typed(TEXT))

    assert commands == [
        Typed("echo a \\\n  b", "a b\n"),
        Typed("false", ""),
        Typed("kubectl get fi", "NAME   AGE\ndemo   12s\n"),
    ]
    assert written(commands) == TEXT


def test_times_addresses_and_drawn_names_may_differ_and_nothing_else() -> None:
    assert masked("demo-entry-5d8f7c9b6-x2x4k  Ready   198.18.0.7  1m3s\n") == "demo-entry-<pod> Ready <address> <age>"
    assert masked("since 2026-11-24T10:00:00Z") == masked("since 2027-01-01T09:59:59Z")
    assert masked("├── demo  Ready\n│   1/1") == masked("demo Ready 1/1")
    assert masked("0/5 nodes are available: 5 Preemption is not helpful for scheduling.") == "<the scheduler's words>."
    assert masked("0 of 1 copies") != masked("1 of 1 copies")


def test_a_shell_keeps_its_state_from_command_to_command(tmp_path: Path) -> None:
    with Terminal(tmp_path, {"GREETING": "hello"}) as terminal:
        assert terminal.type('name=world; echo "$GREETING"') == ("hello\n", 0)
        assert terminal.type("echo $name >&2; false") == ("world\n", 1)
        assert terminal.type("echo $?") == ("1\n", 0)
        assert terminal.type("printf no-newline") == ("no-newline", 0)
        assert terminal.type("ls examples/cpu.yaml") == ("examples/cpu.yaml\n", 0)
