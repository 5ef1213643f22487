"""Builds what is not in the cache yet, two at a time, and says how it goes."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed.programs import PROGRAMS, Program, build_command, build_environment
from testbed.refusal import Refusal

AT_ONCE = 2
PROGRESS_SECONDS = 15
LAST_LINES = 15


def build(names: Iterable[str]) -> None:
    """Have every program of `names` in the cache; raises Refusal with the compiler's words if one does not build."""
    missing = [PROGRAMS[name] for name in names if not PROGRAMS[name].path.exists()]
    if not missing:
        return
    print(
        f"building {', '.join(program.name for program in missing)}; cold this takes about 13 minutes for all",
        flush=True,
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(_build, program) for program in missing]:
            future.result()


def _build(program: Program) -> None:
    """Into a file beside the place, then renamed: what is in place is whole, whoever is killed."""
    program.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.path.with_name(f"{program.name}.unfinished-{os.getpid()}")  # two may build at once
    log = program.path.with_name(f"build-{os.getpid()}.log")
    command = build_command(program, unfinished)
    try:
        run_long(program.name, command, log, environment=build_environment(), folder=program.folder)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.rename(program.path)


def run_long(
    name: str, command: list[str], log: Path, *, environment: dict[str, str], folder: Path | None = None
) -> None:
    """Run what builds `name`, and say how it goes; raises Refusal with its last words if it fails."""
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            _wait(process, name, started)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        where = folder or Path.cwd()
        raise Refusal(f"{name} does not build:\n{_last_lines(log)}\nin {where}: {shlex.join(command)}")
    log.unlink(missing_ok=True)
    print(f"  {name}: built in {time.monotonic() - started:.0f} s", flush=True)


def _wait(process: subprocess.Popen[bytes], name: str, started: float) -> None:
    while True:
        try:
            process.wait(PROGRESS_SECONDS)
            return
        except subprocess.TimeoutExpired:
            print(f"  {name}: building for {time.monotonic() - started:.0f} s", flush=True)


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])
