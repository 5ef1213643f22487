"""Python for an image: the interpreter of this machine, its library, and the system's libraries that they need."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from testbed.host import run

UNUSED = (
    "*-packages", "__pycache__", "test", "tests", "config-*", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo"
)  # fmt: skip
"""Of Python's library, what no server needs."""


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter on this machine."""

    command: str
    """Has pip."""
    version: str
    program: Path
    library: Path

    @property
    def name(self) -> str:
        """What it is called in an image, such as python3.11."""
        return self.library.name


def asked(command: str) -> Python:
    """The interpreter that `command` starts."""
    question = (
        "import json, os, sys, sysconfig; "
        "print(json.dumps([sys.version, os.path.realpath(sys.executable), sysconfig.get_path('stdlib')]))"
    )
    version, program, library = json.loads(run(command, "-c", question))
    return Python(command, version, Path(program), Path(library))


def copy_into(root: Path, python: Python, unused: Iterable[str] = UNUSED) -> Path:
    """Put the interpreter and its library below /usr/local of `root`; where the library is there."""
    copy(python.program, root / f"usr/local/bin/{python.name}")
    library = root / f"usr/local/lib/{python.name}"
    shutil.copytree(python.library, library, ignore=shutil.ignore_patterns(*unused), ignore_dangling_symlinks=True)
    return library


def compile_all(python: Python, folder: Path, root: Path) -> None:
    """Compile what is below `folder`, for an image whose files lie below `root`: to the same bytes each time.

    Files of an image have no times, by which Python would know what is compiled from what.
    """
    at_their_places = ("-s", root, "-p", "/", "--invalidation-mode", "unchecked-hash")
    run("env", "PYTHONHASHSEED=0", python.command, "-m", "compileall", "-q", *at_their_places, folder)


def copy(file: Path, place: Path) -> None:
    """Copy `file` to `place`, in a folder that need not be there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, place)


def system_libraries(needing: list[Path], own: Path) -> set[Path]:
    """The shared libraries that the files `needing` need, where the loader finds them; those in `own` are left out."""
    told = subprocess.run(["ldd", *needing], check=False, capture_output=True, text=True).stdout
    return {path for path in parse_ldd(told) if not path.is_relative_to(own)}


def parse_ldd(told: str) -> set[Path]:
    """The paths in what ldd says: `libm.so.6 => /lib/libm.so.6 (0x1)` and `/lib64/ld-linux.so.2 (0x2)`."""
    found = set()
    for line in told.splitlines():
        path = line.rpartition("=>")[2].strip().rpartition(" (0x")[0]
        if path.startswith("/"):
            found.add(Path(path))
    return found
