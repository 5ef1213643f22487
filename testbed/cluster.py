"""Up, down, and how it stands."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed import build, control_plane, host, leftovers, node, parts, places, processes, programs
from testbed.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Status:
    """How the cluster stands."""

    state: str
    """up, down, or broken: a part of it has died."""
    kubeconfig: str
    kubectl: str
    audit_log: str
    parts: list[str]
    processes: dict[str, str]
    """Each with its process id, or `dead`."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def status() -> Status:
    """How the cluster stands now."""
    known = {process.name: str(process.pid) if process.alive else "dead" for process in processes.recorded()}
    return Status(
        state=_state(known),
        kubeconfig=str(places.KUBECONFIG),
        kubectl=str(programs.path("kubectl")),
        audit_log=str(places.AUDIT_LOG),
        parts=parts.remembered(),
        processes=known,
    )


def _state(known: dict[str, str]) -> str:
    if not leftovers.are_there():
        return "down"
    whole = (places.STATE / "whole").exists() and "dead" not in known.values()
    return "up" if whole and control_plane.is_ready() else "broken"


def up(names: Sequence[str], wishes: parts.Wishes) -> Status:
    """Have a cluster with the parts called `names`; what runs already is kept."""
    host.check()
    leftovers.check_folder()
    _check_alone()
    wanted = [parts.PARTS[name] for name in names]
    needed = [*programs.NODE, *(program for part in wanted for program in part.programs)]
    missing = [name for name in needed if not programs.path(name).exists()]
    if status().state != "up":
        host.announce(missing)
    host.install()
    build.build(needed)
    with _alone():
        state = status().state
        if state != "up":
            _begin(state)
        for part in wanted:
            part.start(wishes)
            parts.remember(part.name)
    return status()


def _begin(state: str) -> None:
    """A new node, after what an earlier one left behind."""
    started = time.monotonic()
    if state == "broken":
        print("an earlier cluster is broken: it is taken down first", flush=True)
    leftovers.remove()
    places.STATE.mkdir(parents=True, exist_ok=True)
    places.RUN.mkdir(parents=True)
    _HOME.write_text(str(places.STATE))
    try:
        host.make_network()
        host.check_ports()
        control_plane.write_identities()
        control_plane.start()
        node.start()
    except Refusal:
        leftovers.remove()
        raise
    (places.STATE / "whole").touch()
    print(f"the node is Ready after {time.monotonic() - started:.1f} s", flush=True)


def down() -> None:
    """Leave nothing of the cluster on the host; the programs stay in the cache."""
    host.check()
    leftovers.check_folder()
    _check_alone()
    with _alone():
        leftovers.remove()


_HOME = places.RUN / "home"
"""Names the state folder of the cluster that has the bridge, the ports and the sockets."""


def _check_alone() -> None:
    """Raise Refusal if a cluster with another state folder is up: a machine has room for one."""
    home = Path(_HOME.read_text()) if _HOME.exists() else places.STATE
    if home != places.STATE and any(process.alive for process in processes.recorded(home / "processes")):
        raise Refusal(
            f"another cluster is up, with its state in {home}; take it down first: "
            f"FUSIONINFER_TESTBED_DIR={home} python -m testbed down"
        )


@contextmanager
def _alone() -> Iterator[None]:
    """One up or down at a time."""
    with places.LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it before us has unlinked it when done: then a third may lock a new file of that name.
            replaced = not os.path.samestat(os.fstat(lock.fileno()), places.LOCK.stat())
        except OSError as error:
            raise Refusal("another `testbed up` or `down` is at work; wait for it") from error
        if replaced:
            raise Refusal("another `testbed up` or `down` is at work; wait for it")
        try:
            yield
        finally:
            places.LOCK.unlink(missing_ok=True)  # before the lock is given up
