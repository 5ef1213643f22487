"""Writes the generated files of the chart: the CRD and the rights, from the code that declares them."""

from __future__ import annotations

from pathlib import Path

from fusioninfer.api.crd import custom_resource_definition, yaml_text
from fusioninfer.cli.render import dumped
from fusioninfer.daemon.rbac import Manifest, install_manifests

FILES = Path("charts/fusioninfer/files")
NAMESPACE = "{{ .Release.Namespace }}"
KEPT = {"helm.sh/resource-policy": "keep"}
"""With a CRD go all objects of its kind."""


def crd() -> Manifest:
    """The CRD as Helm is to treat it."""
    definition = custom_resource_definition()
    return {**definition, "metadata": {**definition["metadata"], "annotations": KEPT}}


def generated() -> dict[str, str]:
    """The text of each generated file, by name."""
    rights = "".join(f"---\n{dumped(manifest)}" for manifest in install_manifests(NAMESPACE))
    return {"crd.yaml": yaml_text(crd()), "rights.yaml": rights}


if __name__ == "__main__":
    for name, text in generated().items():
        (FILES / name).write_text(text)
