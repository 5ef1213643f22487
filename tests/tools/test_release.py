"""A release as one command: what it refuses, what it is made of, and that it is the same when made again."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import fusioninfer
from testbed import programs
from tools import release

CHANGELOG = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-12-01

### Added

- A thing.

## [1.2.2] - 2026-11-01

- Another.
"""
CURRENT = fusioninfer.__version__


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_version_that_is_new_and_told_of_is_released() -> None:
    release.refuse("1.2.3", CHANGELOG, ["v1.2.2"], [])


@pytest.mark.parametrize(
    ("version", "changelog", "tags", "changes", "words"),
    [
        pytest.param("", CHANGELOG, [], [], "make release VERSION=1.2.3", id="none"),
        pytest.param("v1.2.3", CHANGELOG, [], [], "VERSION='v1.2.3' is no version", id="with a v"),
        pytest.param("1.2", CHANGELOG, [], [], "VERSION='1.2' is no version", id="two numbers"),
        pytest.param("1.2.3", CHANGELOG, [], [" M src/a.py", "?? b"], "not committed: src/a.py, b;", id="a dirty tree"),
        pytest.param("1.2.3", CHANGELOG, ["v1.2.3"], [], "tag v1.2.3 exists", id="a tag that exists"),
        pytest.param("1.2.4", CHANGELOG, [], [], r"'## \[1.2.4\] - YYYY-MM-DD'", id="nothing in the changelog"),
        pytest.param(
            "1.2.3", CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- New.\n"), [], [],
            r"\[Unreleased\] still holds '- New.'", id="something that would be missed",
        ),
    ],
)  # fmt: skip
def test_refused(version: str, changelog: str, tags: list[str], changes: list[str], words: str) -> None:
    with pytest.raises(release.Refused, match=words):
        release.refuse(version, changelog, tags, changes)


# --- what it is made of -------------------------------------------------------------------------------------------


def test_notes_are_what_the_changelog_says_of_that_version_alone() -> None:
    assert release.notes("1.2.3", CHANGELOG) == "### Added\n\n- A thing."
    assert release.notes("1.2.2", CHANGELOG) == "- Another."


def test_the_version_is_said_in_its_places_and_nothing_else_changes() -> None:
    for file in release.SAID_IN:
        text = file.read_text()
        said = release.saying(file, text, "9.8.7")

        assert said.replace("9.8.7", CURRENT) == text
        assert len(re.findall(r"9\.8\.7", said)) == (1 if file == release.PYPROJECT else 2)


def test_a_file_that_says_no_version_is_named() -> None:
    with pytest.raises(release.Refused, match=r"pyproject\.toml: no line says a version"):
        release.saying(release.PYPROJECT, "[project]\n", "1.2.3")


def archive_of(*files: tuple[str, bytes], mtime: int, uid: int, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.uid, entry.mode, entry.uname = len(content), mtime, uid, mode, f"user{uid}"
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=mtime)


def test_an_archive_tells_nothing_of_when_where_and_by_whom_it_was_packed() -> None:
    one = archive_of(("a/b", b"1"), ("a/c", b"2"), mtime=5, uid=1000, mode=0o664)
    other = archive_of(("a/c", b"2"), ("a/b", b"1"), mtime=6, uid=0, mode=0o600)
    assert one != other

    timeless = release.timeless(one, 1_700_000_000)

    assert timeless == release.timeless(other, 1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(timeless)) as content:
        found = {entry.name: (entry.mtime, entry.mode, content.extractfile(entry).read()) for entry in content}  # type: ignore[union-attr]
    assert found == {"a/b": (1_700_000_000, 0o644, b"1"), "a/c": (1_700_000_000, 0o644, b"2")}


# --- what is pushed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "first"),
    [
        (("skopeo", "docker", "helm"), "skopeo copy docker-archive:dist/1.2.3/fusioninfer-image-1.2.3.tar"),
        (("crane", "helm"), "crane push dist/1.2.3/fusioninfer-image-1.2.3.tar registry.example.com/me/fusioninfer:"),
        (("podman", "helm"), "podman load --input dist/1.2.3/fusioninfer-image-1.2.3.tar"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_image_and_chart_are_pushed_by_the_tools_that_there_are(there: tuple[str, ...], first: str) -> None:
    commands = release.publishing("1.2.3", "registry.example.com/me", lambda tool: tool if tool in there else None)

    assert " ".join(commands[0]).startswith(first)
    assert commands[-1] == ["helm", "push", "dist/1.2.3/fusioninfer-1.2.3.tgz", "oci://registry.example.com/me/charts"]
    assert "registry.example.com/me/fusioninfer:1.2.3" in " ".join(commands[-2])


@pytest.mark.parametrize(("there", "words"), [((), "install one of skopeo, crane"), (("crane",), "helm is not on")])
def test_a_tool_that_is_missing_is_named(there: tuple[str, ...], words: str) -> None:
    with pytest.raises(release.Refused, match=words):
        release.publishing("1.2.3", "registry.example.com", lambda tool: tool if tool in there else None)


# --- a whole one, in a clone --------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as a user has it, with a changelog that is ready for a release, and all that git needs."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.com")
    monkeypatch.chdir(folder)
    git("tag", "--delete", release.tag(CURRENT), fails=True)
    written = release.CHANGELOG.read_text()
    at = written.index("## [Unreleased]")
    told = "".join(f"## [{version}] - 2026-12-01\n\n- Something.\n\n" for version in ("9.8.7", CURRENT))
    release.CHANGELOG.write_text(f"{written[:at]}## [Unreleased]\n\n{told}")
    git("commit", "--quiet", "--all", "--message", "The changelog tells of a release")
    return folder


def git(*words: str, fails: bool = False) -> str:
    return subprocess.run(["git", *words], check=not fails, capture_output=True, text=True).stdout


def step(*words: str) -> subprocess.CompletedProcess[str]:
    """One step of the release as `make release` runs it, by the clone's own code."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, "-m", "tools.release", *words], capture_output=True, text=True, env=environment
    )


def test_the_version_is_said_in_a_commit_of_its_own(clone: Path) -> None:
    before = git("rev-parse", "HEAD")

    assert step("say", "9.8.7").returncode == 0

    assert git("log", "-1", "--format=%s%n%P").split("\n")[:2] == ["Release 9.8.7", before.strip()]
    assert set(git("diff", "--name-only", "HEAD~1").split()) == set(map(str, release.SAID_IN))
    assert git("status", "--porcelain") == ""
    assert step("say", "9.8.7").returncode == 0
    assert git("rev-parse", "HEAD~1") == before  # it is there already
    done = step("make", "9.8.7")
    assert (done.returncode, git("tag")) == (1, "")
    assert f"FusionInfer is installed here as {CURRENT}, not as 9.8.7" in done.stderr


def test_what_is_not_committed_is_not_released(clone: Path) -> None:
    (clone / "notes.txt").touch()

    for words in ("say", "make"):
        done = step(words, CURRENT)
        assert (done.returncode, git("tag")) == (1, "")
        assert "no release: not committed: notes.txt;" in done.stderr


@pytest.fixture
def helm() -> None:
    if not programs.path("helm").exists():
        pytest.skip("helm is not built: python -m testbed build helm")


@pytest.mark.usefixtures("helm")
def test_a_release_is_whole_and_made_again_the_same_to_the_byte(clone: Path) -> None:
    done = step("make", CURRENT)

    assert done.returncode == 0, done.stderr
    assert git("tag", "--list", "--format=%(refname:short) %(objecttype)") == f"v{CURRENT} tag\n"
    assert "- Something." in git("tag", "--list", "--format=%(contents)")
    folder = clone / "dist" / CURRENT
    sums = (folder / release.CHECKSUMS).read_text()
    assert {line.split()[1] for line in sums.splitlines()} == {
        f"fusioninfer-{CURRENT}-py3-none-any.whl", f"fusioninfer-{CURRENT}.tar.gz", f"fusioninfer-{CURRENT}.tgz",
        f"fusioninfer-{CURRENT}.yaml", f"fusioninfer-image-{CURRENT}.tar", release.NOTES,
    }  # fmt: skip
    assert subprocess.run(["sha256sum", "--check", "--quiet", release.CHECKSUMS], cwd=folder).returncode == 0

    with zipfile.ZipFile(folder / f"fusioninfer-{CURRENT}-py3-none-any.whl") as wheel:
        assert sources(clone) <= set(wheel.namelist())
    kinds = {document["kind"] for document in yaml.safe_load_all((folder / f"fusioninfer-{CURRENT}.yaml").read_text())}
    assert {"CustomResourceDefinition", "Deployment", "ServiceAccount"} <= kinds
    with tarfile.open(folder / f"fusioninfer-{CURRENT}.tgz") as chart:
        assert "fusioninfer/Chart.yaml" in chart.getnames()

    git("tag", "--delete", release.tag(CURRENT))
    shutil.rmtree(folder)
    assert step("make", CURRENT).returncode == 0
    assert (folder / release.CHECKSUMS).read_text() == sums

    assert step("make", CURRENT).stderr.startswith(f"no release: tag v{CURRENT} exists")
    (folder / release.NOTES).write_text("another")
    assert "is not what was released" in step("publish", CURRENT, "registry.example.com").stderr


def sources(repository: Path) -> set[str]:
    """The modules and data of the package, as they are named in a wheel."""
    tracked = git("ls-files", "src/fusioninfer").split()
    return {str(Path(name).relative_to("src")) for name in tracked if (repository / name).is_file()}


def test_a_push_that_fails_is_told_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "dist" / "1.2.3"
    folder.mkdir(parents=True)
    (folder / release.CHECKSUMS).write_text(release.checksums(folder))
    for tool, word in (("skopeo", "true"), ("helm", "false")):
        (tmp_path / tool).symlink_to(shutil.which(word) or word)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(release.Refused, match="helm failed, and says why above"):
        release.publish("1.2.3", "registry.example.com")
