"""A real Prometheus and its promtool: the programs of Debian's package, without installing it.

Installed, the package would start a server of its own. Unpacked into the cache folder, it is two programs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testbed import places
from testbed.host import run
from testbed.refusal import Refusal

PACKAGE = "prometheus"


def program() -> Path:
    """Prometheus, on this machine."""
    return _programs() / "prometheus"


def promtool() -> Path:
    """What checks rules and runs tests of them."""
    return _programs() / "promtool"


def _programs() -> Path:
    folder = places.cache_folder() / "prometheus"
    if not folder.exists():
        _unpack(folder)
    return folder / "usr" / "bin"


def _unpack(folder: Path) -> None:
    if shutil.which("apt-get") is None:
        raise Refusal(f"Prometheus is read out of Debian's package: unpack one into {folder}, as usr/bin/prometheus")
    with places.made_whole(folder) as unfinished:
        _download(unfinished)
        (package,) = unfinished.glob("*.deb")
        run("dpkg-deb", "--extract", package, unfinished)
        package.unlink()


def _download(folder: Path) -> None:
    print(f"fetching the Debian package {PACKAGE}", flush=True)
    for command in (["update", "-qq"], ["download", "-qq", PACKAGE]):
        done = subprocess.run(["apt-get", *command], check=False, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise Refusal(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}")
