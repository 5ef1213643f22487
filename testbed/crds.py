"""Kinds that a cluster may have or not: CustomResourceDefinitions as their projects release them, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed import programs
from testbed.control_plane import kubectl


@dataclass(frozen=True, slots=True)
class Kinds:
    """One project's."""

    pinned_in: str
    """The folder below `go/` whose go.mod names the version."""
    module: str
    folder: str
    """Where they are in the module."""

    def files(self) -> list[Path]:
        """All manifests: beside the kinds there may be a policy that guards them."""
        return sorted((programs.module_folder(self.pinned_in, self.module) / self.folder).glob("*.yaml"))


INFERENCE = Kinds("llmd", "sigs.k8s.io/gateway-api-inference-extension", "config/crd/bases")
"""InferencePool and the others that the picker of `llmd` reads."""
GATEWAY = Kinds("gateway-api", "sigs.k8s.io/gateway-api", "config/crd/standard")
MONITORING = Kinds(
    "prometheus-operator", "github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd"
)
"""ServiceMonitor, PrometheusRule and the others of the Prometheus operator."""


def start(kinds: Kinds) -> None:
    """Have them in the cluster; returns when objects of them can be made."""
    files = kinds.files()
    kubectl("apply", "--server-side", *_each(files))
    kubectl("wait", "--for=condition=Established", *_each(definitions(files)), "--timeout=30s")


def definitions(files: list[Path]) -> list[Path]:
    """Those of `files` that define a kind."""
    return [file for file in files if "\nkind: CustomResourceDefinition\n" in f"\n{file.read_text()}"]


def _each(files: list[Path]) -> list[str | Path]:
    return [word for file in files for word in ("-f", file)]
