"""The processes of the cluster: started here, remembered by id and start time, and ended by these alone.

A process id is used again by the kernel; together with the time at which the process began it is unique. So nothing
that we did not start is ever signalled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from testbed import places
from testbed.refusal import Refusal

RECORDS = places.STATE / "processes"
GRACE_SECONDS = 3.0
LAST_LINES = 10


@dataclass(frozen=True, slots=True)
class Process:
    """A process that we started."""

    name: str
    pid: int
    began: int
    """Clock ticks since the machine started (proc(5), field 22 of stat)."""

    @property
    def alive(self) -> bool:
        """It is there, it is the one that we started, and it is no zombie."""
        return began(self.pid) == self.began


def began(pid: int) -> int | None:
    """When process `pid` began; None if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def start(name: str, command: Sequence[str | Path], *, environment: dict[str, str] | None = None) -> Process:
    """Start `command`, which outlives us and our terminal; what it says goes to the log `name`."""
    places.LOGS.mkdir(parents=True, exist_ok=True)
    with (places.LOGS / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )
    process = Process(name, child.pid, began(child.pid) or 0)
    RECORDS.mkdir(parents=True, exist_ok=True)
    unfinished = RECORDS / f"{name}.unfinished"
    unfinished.write_text(json.dumps({"pid": process.pid, "began": process.began}))
    unfinished.rename(RECORDS / f"{name}.json")
    return process


def recorded(folder: Path | None = None) -> tuple[Process, ...]:
    """All that were started and not ended, dead or alive: by us, or as `folder` has it of another cluster."""
    found = []
    for record in sorted((folder or RECORDS).glob("*.json")):
        content = json.loads(record.read_text())
        found.append(Process(record.stem, content["pid"], content["began"]))
    return tuple(found)


def await_that(name: str, does: str, condition: Callable[[], bool], seconds: float) -> None:
    """Return when `condition` holds; raises Refusal with the last words of process `name` if it ends or is too slow."""
    give_up = time.monotonic() + seconds
    process = next(process for process in recorded() if process.name == name)
    while not condition():
        if not _still_there(process):
            raise Refusal(f"{name} has ended; it said:\n{_last_words(name)}")
        if time.monotonic() > give_up:
            raise Refusal(f"{name} {does} after {seconds:.0f} s; it said:\n{_last_words(name)}")
        time.sleep(0.05)


def _last_words(name: str) -> str:
    """The end of a log, which goes with the cluster."""
    return "\n".join((places.LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-LAST_LINES:])


def end(names: Iterable[str] | None = None, *, first: signal.Signals = signal.SIGTERM) -> None:
    """End the processes called `names`, or all: by `first`, and after a few seconds by SIGKILL."""
    wanted = None if names is None else set(names)
    processes = [process for process in recorded() if wanted is None or process.name in wanted]
    _signal(processes, first)
    _await_end(processes, GRACE_SECONDS)
    _signal(processes, signal.SIGKILL)
    _await_end(processes, GRACE_SECONDS)
    for process in processes:
        (RECORDS / f"{process.name}.json").unlink(missing_ok=True)


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        if process.alive:
            os.kill(process.pid, number)


def _await_end(processes: Iterable[Process], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while any(_still_there(process) for process in processes) and time.monotonic() < give_up:
        time.sleep(0.02)


def _still_there(process: Process) -> bool:
    with suppress(ChildProcessError):  # if it is a child of ours, it would stay as a zombie
        os.waitpid(process.pid, os.WNOHANG)
    return process.alive


def command_line(pid: int) -> list[str]:
    """The words of process `pid`; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def everyone() -> list[int]:
    """Every process of the machine."""
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def children() -> dict[int, list[int]]:
    """Every process of the machine with its children."""
    found: dict[int, list[int]] = {}
    for pid in everyone():
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found.setdefault(parent, []).append(pid)
    return found
