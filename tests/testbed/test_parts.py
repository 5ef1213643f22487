"""What the local cluster is made of, without any cluster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from testbed import build, host, images, leftovers, parts, places, processes, programs
from testbed.programs import Program
from testbed.refusal import Refusal


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go module of its own, and an empty cache."""
    folder = tmp_path / "go" / "hello"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example.org/hello\n\ngo 1.21\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    monkeypatch.setattr(programs, "MODULES", tmp_path / "go")
    go_cache = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("GOCACHE", go_cache)  # else it would follow XDG_CACHE_HOME, and Go's own library be built anew
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(programs.PROGRAMS, "hello", HELLO)
    return folder


HELLO = Program("hello", "hello", "example.org/hello")


def test_a_program_is_known_by_all_that_it_is_made_from(module: Path) -> None:
    digests = [HELLO.digest, Program("hello", "hello", "example.org/hello", "-s").digest]
    (module / "go.sum").write_text("example.org/other v1.0.0 h1:x=\n")
    digests.append(HELLO.digest)
    (module / "main.go").write_text('package main\n\nfunc main() { println("hi") }\n')
    digests.append(HELLO.digest)

    assert len(set(digests)) == 4


def test_a_program_is_built_once(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build.build(["hello"])
    built = HELLO.path.stat().st_mtime_ns

    build.build(["hello"])

    assert subprocess.run([HELLO.path], capture_output=True, text=True).stderr == "hello\n"
    assert HELLO.path.stat().st_mtime_ns == built
    assert "hello: built in" in capfd.readouterr().out


def test_a_program_that_does_not_build_is_told_in_the_compilers_words(module: Path) -> None:
    (module / "main.go").write_text("package main\n\nfunc main() { nonsense }\n")

    with pytest.raises(Refusal, match=r"undefined: nonsense(.|\n)*go build -mod=readonly"):
        build.build(["hello"])

    assert not HELLO.path.exists()


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!x")
    image = images.Image("example.org/x:1", (("app/program", program),), ("/app/program",))
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"

    images.write_archive(image, first)
    os.utime(program, (1, 1))
    images.write_archive(image, second)

    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert "manifest.json" in archive.getnames()
    before = image.digest
    program.write_text("#!y")
    assert image.digest != before


def test_a_process_id_that_was_used_again_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "RECORDS", tmp_path / "processes")
    monkeypatch.setattr(places, "LOGS", tmp_path / "log")
    started = processes.start("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"])
    record = tmp_path / "processes" / "sleeper.json"
    record.write_text(record.read_text().replace(str(started.began), str(started.began - 1)))

    processes.end()

    assert started.alive
    assert not record.exists()
    os.kill(started.pid, 9)
    os.waitpid(started.pid, 0)


def test_what_was_started_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "RECORDS", tmp_path / "processes")
    monkeypatch.setattr(places, "LOGS", tmp_path / "log")
    started = processes.start("sleeper", [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"])

    assert [process.alive for process in processes.recorded()] == [True]
    processes.end()

    assert not started.alive
    assert processes.recorded() == ()


def test_a_process_that_ended_is_told_by_its_last_words_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RECORDS", tmp_path / "processes")
    monkeypatch.setattr(places, "LOGS", tmp_path / "log")
    processes.start("talker", [sys.executable, "-c", "raise SystemExit('no such flag')"])

    with pytest.raises(Refusal, match=r"talker has ended(.|\n)*no such flag"):
        processes.await_that("talker", "is not ready", lambda: False, 60)


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_folder_with_somebodys_files_is_refused_and_kept(command: str, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("dear")
    environment = {**os.environ, "FUSIONINFER_TESTBED_DIR": str(tmp_path)}

    done = subprocess.run([sys.executable, "-m", "testbed", command], capture_output=True, text=True, env=environment)

    assert done.returncode == 2
    assert f"{tmp_path} holds files that are no cluster's" in done.stderr
    assert letter.read_text() == "dear"


def test_a_down_that_was_killed_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "STATE", tmp_path)
    monkeypatch.setattr(places, "SETTINGS_BEFORE", tmp_path / "sysctls-before.json")
    places.SETTINGS_BEFORE.write_text("{}")
    (tmp_path / "log").mkdir()

    leftovers.check_folder()


def test_less_than_no_nodes_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "testbed", "up", "kwok", "--gpu-nodes=-1"], capture_output=True, text=True
    )

    assert done.returncode == 2


def test_a_port_that_is_taken_is_refused_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(places, "PORTS", (("127.0.0.1", port, "etcd"),))

        with pytest.raises(Refusal, match=rf"port {port} of 127.0.0.1 is taken .* and etcd needs it"):
            host.check_ports()


def test_without_root_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Refusal, match="needs root"):
        host.check()


def test_off_linux_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")

    with pytest.raises(Refusal, match="needs Linux"):
        host.check()


def test_an_unknown_part_is_refused_with_those_that_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "testbed", "up", "nope"], capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stderr == f"testbed: there is no part nope; there are {', '.join(parts.PARTS)}\n"
