"""The operator's image: Python, the packages that FusionInfer needs, FusionInfer; no shell, and nothing else.

    python -m tools.image archive FILE    as `docker save` writes it, by no tool but this one
    python -m tools.image tree FOLDER     its files alone, for the Containerfile

It is made from the interpreter that runs this and from what is installed beside it. Made twice from the same, it is
the same to the byte.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement

from testbed import images
from testbed.interpreter import UNUSED, asked, compile_all, copy, copy_into, system_libraries

PACKAGE = "fusioninfer"
SOURCES = Path("src") / PACKAGE
REPOSITORY = "fusioninfer/fusioninfer"
"""Without a registry, which is the user's to choose."""
LIBRARIES = "usr/local/lib"
"""Where the loader is told to look for what no distribution's folder holds."""
SYSTEM_FOLDERS = tuple(map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64")))
UNUSED_MODULES = (
    *UNUSED, "_sqlite3*", "_tkinter*", "_dbm*", "_gdbm*", "_curses*", "readline*", "_test*", "_xx*", "xx*",
    "pydoc_data", "*.a",
)  # fmt: skip
"""Of Python's library: what no operator needs, and what needs libraries of the system that nothing else does."""
LAUNCHER = """\
#!/usr/local/bin/{python}
import sys

from fusioninfer.cli.main import app

sys.exit(app())
"""


def name(version: str) -> str:
    """What the image of `version` is called."""
    return f"{REPOSITORY}:{version}"


def version() -> str:
    """Of FusionInfer, as installed here."""
    return importlib.metadata.version(PACKAGE)


def write_tree(root: Path) -> None:
    """All files of the image at their places below `root`, an empty folder."""
    python = asked(sys.executable)
    library = copy_into(root, python, UNUSED_MODULES)
    packages = library / "site-packages"
    for distribution in needed(PACKAGE):
        _copy_distribution(distribution, packages)
    shutil.copytree(SOURCES, packages / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    compile_all(python, library, root)
    launcher = root / "usr/local/bin" / PACKAGE
    launcher.write_text(LAUNCHER.format(python=python.name))
    launcher.chmod(0o755)
    for found in sorted(system_libraries([python.program, *library.rglob("*.so")], library)):
        copy(found, root / (found.relative_to("/") if _is_system(found) else Path(LIBRARIES) / found.name))


def image(root: Path) -> images.Image:
    """The image of the files below `root`, which `write_tree` has written."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return images.Image(
        name(version()),
        tuple((str(file.relative_to(root)), file) for file in files),
        (f"/usr/local/bin/{PACKAGE}",),
        environment=(("LD_LIBRARY_PATH", f"/{LIBRARIES}"), ("PYTHONDONTWRITEBYTECODE", "1"), ("HOME", "/tmp")),
    )


def write_archive(archive: Path) -> None:
    """The image, as `docker save` would write it."""
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder))
        archive.parent.mkdir(parents=True, exist_ok=True)
        images.write_archive(image(Path(folder)), archive)


def needed(package: str) -> list[Distribution]:
    """`package` and what it needs, and what that needs, as installed here; by name."""
    found: dict[str, Distribution] = {}
    waiting = [package]
    while waiting:
        distribution = importlib.metadata.distribution(waiting.pop())
        if distribution.name not in found:
            found[distribution.name] = distribution
            waiting += _required(distribution)
    return [found[name] for name in sorted(found)]


def _required(distribution: Distribution) -> Iterator[str]:
    for line in distribution.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _copy_distribution(distribution: Distribution, packages: Path) -> None:
    """What is importable of it, and its metadata, by which entry points are found; not how it was installed here."""
    for file in distribution.files or ():
        inside = not file.parts[0].startswith(("..", "__editable__"))
        if (
            inside
            and file.suffix not in (".pyc", ".pth")
            and file.name not in ("RECORD", "INSTALLER", "direct_url.json")
        ):
            copy(Path(str(file.locate())), packages / file)


def _is_system(library: Path) -> bool:
    return any(library.is_relative_to(folder) for folder in SYSTEM_FOLDERS)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    {"archive": write_archive, "tree": write_tree}[sys.argv[1]](place)
    print(f"{place} holds {name(version())}")
