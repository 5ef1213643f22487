"""What a log line looks like; in a process of its own, since logging is set up once for a whole process."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from fusioninfer.daemon import logs
from fusioninfer.daemon.settings import LogFormat, LogLevel
logs.configure(LogLevel.{level}, LogFormat.{form})
structlog.get_logger("ours").info("apply", name="qwen")
structlog.get_logger("ours").debug("detail")
logging.getLogger("library").warning("theirs %d", 1)
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("ours").exception("broken")
"""


def logged(level: str, form: str) -> list[str]:
    program = PROGRAM.format(level=level, form=form)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_line_is_one_json_object_whoever_logs() -> None:
    ours, theirs, broken = map(json.loads, logged("INFO", "JSON"))

    assert (ours["event"], ours["name"], ours["level"], ours["logger"]) == ("apply", "qwen", "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("theirs 1", "warning", "library")
    assert "ZeroDivisionError" in broken["exception"]
    assert "timestamp" in ours


def test_what_is_less_severe_is_left_out() -> None:
    assert [json.loads(line)["event"] for line in logged("WARNING", "JSON")] == ["theirs 1", "broken"]
    assert len(logged("DEBUG", "JSON")) == 4


def test_people_read_text() -> None:
    assert any("apply" in line and "name=qwen" in line for line in logged("INFO", "CONSOLE"))
