"""The operator in a cluster, as its users have it there: its image, and the chart.

python -m tools.in_cluster FILE       the chart as plain manifests, for `kubectl apply --server-side -f FILE`
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from testbed import build, images, places, programs
from tools import image

CHART = Path("charts/fusioninfer")
RELEASE = "fusioninfer"
NAMESPACE = "fusioninfer-system"
PATIENCE = "120s"
NO_CLUSTER = Path("/dev/null")
"""For what helm does without any cluster."""


@dataclass(frozen=True, slots=True)
class Helm:
    """helm for one cluster, as its administrator."""

    program: Path
    where: tuple[str, ...]
    """How it is told which cluster: --kubeconfig FILE, or --kube-context NAME."""

    def __call__(self, *words: str) -> str:
        """What it prints; raises Complaint with what it says against it."""
        done = subprocess.run([str(self.program), *words, *self.where], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Complaint(f"helm {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def install(self, *settings: str, chart: Path = CHART) -> str:
        """Have the chart's operator, up and ready; `settings` are `name=value`. Says what Helm says."""
        given = [word for each in settings for word in ("--set", each)]
        return self(
            "upgrade", RELEASE, str(chart), "--install", "--namespace", NAMESPACE, "--create-namespace",
            "--take-ownership", "--force-conflicts", "--wait", "--timeout", PATIENCE, *given,
        )  # fmt: skip

    def manifests(self, chart: Path = CHART) -> str:
        """What the chart applies by its own values, as plain manifests with their namespace."""
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"
        return namespace + self("template", RELEASE, str(chart), "--namespace", NAMESPACE)


class Complaint(Exception):
    """What helm says when it cannot do what it is told."""


def archive() -> Path:
    """The image's archive, made once for all that it is made from."""
    place = places.cache_folder() / "images" / f"fusioninfer-{_digest(_made_from())}.tar"
    if not place.exists():
        unfinished = place.with_suffix(".unfinished")
        image.write_archive(unfinished)
        unfinished.rename(place)
    return place


def image_name() -> str:
    """Of the image in `archive()`."""
    return image.name(image.version())


def load_image() -> tuple[str, ...]:
    """Have the image in the local cluster; how the chart is told of it."""
    images.load_archive(archive())
    repository, _, tag = image_name().rpartition(":")
    return f"image.repository={repository}", f"image.tag={tag}", "image.pullPolicy=Never"


def _made_from() -> Iterable[Path]:
    yield Path("requirements.lock")
    yield Path("pyproject.toml")
    yield Path(image.__file__)
    yield from sorted(file for file in image.SOURCES.rglob("*") if file.is_file() and file.suffix != ".pyc")


def _digest(files: Iterable[Path]) -> str:
    hashed = hashlib.sha256(sys.version.encode())
    for file in files:
        hashed.update(f"\0{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return hashed.hexdigest()[:16]


def helm(kubeconfig: Path) -> Helm:
    """The pinned helm, built if it is not in the cache yet."""
    build.build(["helm"])
    return Helm(programs.path("helm"), ("--kubeconfig", str(kubeconfig)))


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(helm(NO_CLUSTER).manifests())
    print(file)
