"""`make release VERSION=1.2.3`: all that a release is made of, in dist/1.2.3/, and last its tag.

    python -m tools.release say VERSION                 pyproject.toml and the chart say it, in a commit of its own
    python -m tools.release make VERSION                what is listed in SHA256SUMS there, and the tag
    python -m tools.release publish VERSION REGISTRY    image and chart to a registry, by tools of your own

Between the first two FusionInfer is installed anew, since it asks its installed metadata which version it is. What is
made of a commit is the same to the byte whenever it is made: times are the commit's, owners are nobody. Nothing leaves
this machine before `publish`.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed import programs
from tools import image, in_cluster
from tools.in_cluster import CHART, NO_CLUSTER

CHANGELOG = Path("CHANGELOG.md")
PYPROJECT = Path("pyproject.toml")
DIST = Path("dist")
NOTES = "NOTES.md"
CHECKSUMS = "SHA256SUMS"
SAID_IN = {
    PYPROJECT: re.compile(r'^(version = )"[^"]+"$', re.M),
    CHART / "Chart.yaml": re.compile(r"^((?:version|appVersion): )\S+$", re.M),
}
"""Where the version is written: once, and where Helm wants to read it. The first group stays."""


class Refused(Exception):
    """There is no release; the sentence says why, and what to do."""


# --- say ----------------------------------------------------------------------------------------------------------


def say(version: str) -> None:
    """Have the version in the commit that is checked out; a commit is made if it is not there yet."""
    refuse(version, CHANGELOG.read_text(), _git("tag", "--list").split(), _git("status", "--porcelain").splitlines())
    for file in SAID_IN:
        file.write_text(saying(file, file.read_text(), version))
    if _git("status", "--porcelain"):
        _git("commit", "--quiet", "--message", f"Release {version}", "--", *map(str, SAID_IN))


def refuse(version: str, changelog: str, tags: Collection[str], changes: Sequence[str]) -> None:
    """Raises Refused where no release of `version` can be made; `changes` are git's lines on what is not committed."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(f"VERSION={version!r} is no version of ours: say it as in make release VERSION=1.2.3")
    if changes:
        raise Refused(f"not committed: {', '.join(line[3:] for line in changes[:5])}; commit it, or put it away")
    if tag(version) in tags:
        raise Refused(f"tag {tag(version)} exists: what was released is not made anew; choose the next version")
    if unreleased := section(changelog, "Unreleased"):
        raise Refused(
            f"{CHANGELOG}: [Unreleased] still holds {unreleased.splitlines()[0]!r} and more; move it under [{version}]"
        )
    notes(version, changelog)


def notes(version: str, changelog: str) -> str:
    """What the changelog says of `version`; raises Refused if that is nothing."""
    text = section(changelog, version)
    if not text:
        raise Refused(f"{CHANGELOG}: nothing stands under '## [{version}] - YYYY-MM-DD'; write what users notice")
    return text


def section(changelog: str, name: str) -> str:
    """What stands under the heading `## [name]`, with a date or without; empty if nothing does."""
    found = re.search(rf"^## \[{re.escape(name)}\](?: - \d{{4}}-\d\d-\d\d)?\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    return found[1].strip() if found else ""


def saying(file: Path, text: str, version: str) -> str:
    """The `text` of one of SAID_IN with another version."""
    quote = '"' if file == PYPROJECT else ""
    said, count = SAID_IN[file].subn(rf"\g<1>{quote}{version}{quote}", text)
    if not count:
        raise Refused(f"{file}: no line says a version, as one did: {SAID_IN[file].pattern}")
    return said


def tag(version: str) -> str:
    return f"v{version}"


# --- make ---------------------------------------------------------------------------------------------------------


def make(version: str) -> None:
    """Everything into dist/, and then the tag: who finds a tag finds a release."""
    installed = importlib.metadata.version("fusioninfer")
    if installed != version:
        raise Refused(f"FusionInfer is installed here as {installed}, not as {version}: make release does both")
    refuse(version, CHANGELOG.read_text(), _git("tag", "--list").split(), _git("status", "--porcelain").splitlines())
    folder = DIST / version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build(version, folder)
    _git("tag", "--annotate", tag(version), "--cleanup=verbatim", "--file", str(folder / NOTES))


def build(version: str, folder: Path) -> None:
    """All files of the release into the empty `folder`, from the commit that is checked out."""
    seconds = int(_git("log", "-1", "--format=%ct"))
    with _exported() as sources:
        python_packages(sources, folder, seconds)
        chart(sources, folder, seconds)
        (folder / f"fusioninfer-{version}.yaml").write_text(in_cluster.helm(NO_CLUSTER).manifests(sources / CHART))
    image.write_archive(folder / f"fusioninfer-image-{version}.tar")
    (folder / NOTES).write_text(f"# FusionInfer {version}\n\n{notes(version, CHANGELOG.read_text())}\n")
    (folder / CHECKSUMS).write_text(checksums(folder))


def python_packages(sources: Path, folder: Path, seconds: int) -> None:
    """The wheel, and the sources that it was built from."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(sources)]
    _run(command, environment)
    for archive in folder.glob("*.tar.gz"):
        archive.write_bytes(timeless(archive.read_bytes(), seconds))


def chart(sources: Path, folder: Path, seconds: int) -> None:
    """The chart as Helm packs it."""
    _run([str(programs.path("helm")), "package", str(sources / CHART), "--destination", str(folder)])
    for archive in folder.glob("*.tgz"):
        archive.write_bytes(timeless(archive.read_bytes(), seconds))


def timeless(archive: bytes, seconds: int) -> bytes:
    """A .tar.gz with the same files, by name, all of one time (since 1970), and of no owner of this machine."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=plain, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            entry = tarfile.TarInfo(member.name)
            entry.type, entry.size, entry.linkname, entry.mtime = member.type, member.size, member.linkname, seconds
            entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(member) if member.isfile() else None)
    return gzip.compress(plain.getvalue(), mtime=seconds)


def checksums(folder: Path) -> str:
    """As `sha256sum --check` reads them, of all files in `folder`."""
    files = sorted(file for file in folder.iterdir() if file.name != CHECKSUMS)
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


@contextmanager
def _exported() -> Iterator[Path]:
    """The commit's files alone, readable by all, in a folder of the same name each time."""
    before = os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(["git", "archive", "HEAD"], check=True, capture_output=True).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as content:
                content.extractall(Path(folder) / "fusioninfer", filter="data")
            yield Path(folder) / "fusioninfer"
    finally:
        os.umask(before)


# --- publish ------------------------------------------------------------------------------------------------------


def publish(version: str, registry: str) -> None:
    """Image and chart to `registry`, such as registry.example.com/team, where you are logged in already."""
    folder = DIST / version
    if not (folder / CHECKSUMS).exists():
        raise Refused(f"{folder} holds no release: make release VERSION={version}")
    if checksums(folder) != (folder / CHECKSUMS).read_text():
        raise Refused(f"{folder} is not what was released: its checksums are others than in {CHECKSUMS}")
    for command in publishing(version, registry, shutil.which):
        print("+", *command, flush=True)
        if subprocess.run(command, check=False).returncode:
            raise Refused(f"{command[0]} failed, and says why above; what was pushed before it stays")
    print(f"and the tag, to where your repository is: git push origin {tag(version)}")


def publishing(version: str, registry: str, which: Callable[[str], str | None]) -> list[list[str]]:
    """The commands that push, by the first of the known tools that there is."""
    folder = DIST / version
    archive, pushed = str(folder / f"fusioninfer-image-{version}.tar"), f"{registry}/fusioninfer:{version}"
    engines = {
        engine: [
            [engine, "load", "--input", archive],
            [engine, "tag", image.name(version), pushed],
            [engine, "push", pushed],
        ]
        for engine in ("docker", "podman")
    }
    ways = {
        "skopeo": [["skopeo", "copy", f"docker-archive:{archive}", f"docker://{pushed}"]],
        "crane": [["crane", "push", archive, pushed]],
        **engines,
    }
    way = next((ways[tool] for tool in ways if which(tool)), None)
    if way is None:
        raise Refused(f"nothing here pushes an image: install one of {', '.join(ways)}")
    if not which("helm"):
        raise Refused("helm is not on the PATH, which pushes the chart")
    # Apart from the image, which would have the same name and tag.
    return [*way, ["helm", "push", str(folder / f"fusioninfer-{version}.tgz"), f"oci://{registry}/charts"]]


# --- git, and other programs --------------------------------------------------------------------------------------


def _git(*words: str) -> str:
    return _run(["git", *words])


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """What a program says; raises Refused with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


STEPS: dict[str, Callable[..., None]] = {"say": say, "make": make, "publish": publish}

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]](*sys.argv[2:])
    except Refused as refusal:
        sys.exit(f"no release: {refusal}")
