"""Images without a registry: an archive of one layer, made from files of this machine, and imported into containerd.

The same files give the same bytes, so that an archive is kept under the hash of what it is made from.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from testbed import places, programs
from testbed.host import run

PAUSE = "fusioninfer.local/pause:1"
SIMULATOR = "ghcr.io/llm-d/llm-d-inference-sim:v0.10.2"
NONROOT = "65532:65532"
PATH = ("PATH", "/usr/local/bin:/usr/bin:/bin")
FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/tmp")
USERS = b"root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532::/:/bin/sh\n"


@dataclass(frozen=True, slots=True)
class Image:
    """One image: `files` maps paths inside it to files of this machine."""

    name: str
    files: tuple[tuple[str, Path], ...]
    entry: tuple[str, ...]
    user: str = NONROOT
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits of all that it is made from."""
        hashed = hashlib.sha256(json.dumps([self.name, self.entry, self.user, self.environment]).encode())
        for path, source in self.files:
            hashed.update(f"\0{path}\0".encode())
            with source.open("rb") as file:
                hashed.update(hashlib.file_digest(file, "sha256").digest())
        return hashed.hexdigest()[:16]


def pause() -> Image:
    """What holds a pod's network: a program that sleeps."""
    return Image(PAUSE, (("bin/busybox", Path("/bin/busybox")),), ("/bin/busybox", "sleep", "2147483647"))


def simulator() -> Image:
    """llm-d-inference-sim under the name that its manifests use: a static program and nothing else."""
    program = programs.path("llm-d-inference-sim")
    return Image(SIMULATOR, (("app/llm-d-inference-sim", program),), ("/app/llm-d-inference-sim",))


def load(image: Image) -> None:
    """Have `image` in the cluster's containerd."""
    archive = places.cache_folder() / "images" / f"{image.digest}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(".unfinished")
        write_archive(image, unfinished)
        unfinished.rename(archive)
    load_archive(archive)


def load_archive(archive: Path) -> None:
    """Have the image of `archive`, as `docker save` writes it, in the cluster's containerd."""
    run("ctr", "--address", places.CONTAINERD_SOCKET, "--namespace", "k8s.io", "images", "import", archive)


def write_archive(image: Image, path: Path) -> None:
    """`image` as `docker save` would write it."""
    layer = _layer(image)
    layer_digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": list(image.entry),
                "Env": [f"{name}={value}" for name, value in (PATH, *image.environment)],
                "User": image.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [image.name], "Layers": [layer_name]}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in ((config_name, config), (layer_name, layer), ("manifest.json", manifest)):
            archive.addfile(_entry(name, size=len(content)), io.BytesIO(content))


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    made = set(FOLDERS)
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for folder in FOLDERS:
            layer.addfile(_entry(folder, kind=tarfile.DIRTYPE, mode=0o1777 if folder.endswith("tmp") else 0o755))
        layer.addfile(_entry("etc/passwd", size=len(USERS)), io.BytesIO(USERS))
        for path, source in image.files:
            for parent in map(str, reversed(Path(path).parents)):
                if parent not in made | {"."}:
                    made.add(parent)
                    layer.addfile(_entry(parent, kind=tarfile.DIRTYPE, mode=0o755))
            resolved = source.resolve()
            with resolved.open("rb") as file:
                layer.addfile(_entry(path, size=resolved.stat().st_size, mode=0o755), file)
    return buffer.getvalue()


def _entry(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    """A header without times or owners of this machine."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.mode = size, kind, mode
    return entry


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
