"""The programs of the cluster, built from pinned Go modules: which, from what, and where they are kept.

A program lives in the user's cache folder under a hash of all that it is made from, so that the second run finds it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from testbed import places
from testbed.refusal import Refusal

MODULES = Path(__file__).parent / "go"
KUBERNETES = "v1.36.3"
_VERSION = "k8s.io/component-base/version"
_STRIPPED = "-s -w"
# Else the API server calls itself v0.0.0, and clients believe it.
_KUBERNETES_FLAGS = (
    f"{_STRIPPED} -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36"
)


@dataclass(frozen=True, slots=True)
class Program:
    """One program: `package` of the module in folder `module` below `go/`."""

    name: str
    module: str
    package: str
    ldflags: str = _STRIPPED

    @property
    def folder(self) -> Path:
        """The folder with its go.mod and go.sum, and the sources of a program of our own."""
        return MODULES / self.module

    @property
    def path(self) -> Path:
        """Where it is, once it was built."""
        return places.cache_folder() / "programs" / f"{self.name}-{self.digest}" / self.name

    @property
    def digest(self) -> str:
        """12 hex digits of all that it is made from."""
        hashed = hashlib.sha256()
        for part in (self.package, self.ldflags, go_version()):
            hashed.update(part.encode() + b"\0")
        for file in ("go.mod", "go.sum", *sorted(source.name for source in self.folder.glob("*.go"))):
            hashed.update((self.folder / file).read_bytes())
        return hashed.hexdigest()[:12]


def _kubernetes(name: str) -> Program:
    return Program(name, "k8s", f"k8s.io/kubernetes/cmd/{name}", _KUBERNETES_FLAGS)


PROGRAMS = {
    program.name: program
    for program in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubectl"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        Program("coredns", "coredns", "github.com/coredns/coredns"),
        Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
        Program("lws", "lws", "sigs.k8s.io/lws/cmd"),
        Program("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
        Program("epp", "llmd", "github.com/llm-d/llm-d-inference-scheduler/cmd/epp"),
        Program("pd-sidecar", "llmd", "github.com/llm-d/llm-d-inference-scheduler/cmd/pd-sidecar"),
        Program("vc-controller-manager", "volcano", "volcano.sh/volcano/cmd/controller-manager"),
        Program("vc-scheduler", "volcano", "volcano.sh/volcano/cmd/scheduler"),
        Program("health", "health", "."),
        Program("llm-d-inference-sim", "sim", "github.com/llm-d/llm-d-inference-sim/cmd/llm-d-inference-sim"),
    )
}

NODE = tuple(name for name, program in PROGRAMS.items() if program.module in ("etcd", "k8s", "coredns"))
"""What every cluster needs."""


def path(name: str) -> Path:
    """The built program `name`."""
    return PROGRAMS[name].path


@cache
def go_version() -> str:
    """The Go that builds, such as go1.26.8; raises Refusal if there is none."""
    return subprocess.run(
        [_go(), "env", "GOVERSION"], capture_output=True, text=True, check=True, cwd=MODULES
    ).stdout.strip()


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise Refusal("Go is not installed: the cluster's programs are built from source; install Go 1.26 or newer")
    return found


def build_command(program: Program, output: Path) -> list[str]:
    """What builds `program` into the file `output`, run in its folder."""
    return [
        _go(), "build", "-mod=readonly", "-trimpath", f"-ldflags={program.ldflags}", "-o", str(output), program.package,
    ]  # fmt: skip


def build_environment() -> dict[str, str]:
    """Without cgo a program needs no library of the host, and runs in an image that holds nothing else."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


@cache
def module_folder(module: str, path: str) -> Path:
    """The sources of the Go module `path` as pinned by the folder `module`: manifests and CRDs are read from there.

    They are fetched if they are not there: the program may be cached where the module is not.
    """
    found = _run_go(module, "list", "-m", "-f", "{{.Dir}}", path)
    if not found:
        _run_go(module, "mod", "download", path)
        found = _run_go(module, "list", "-m", "-f", "{{.Dir}}", path)
    return Path(found)


def _run_go(module: str, *words: str) -> str:
    done = subprocess.run(
        [_go(), *words], capture_output=True, text=True, check=False, cwd=MODULES / module, env=build_environment()
    )
    if done.returncode:
        raise Refusal(f"go {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()
