"""Writes the generated files of the chart: CRD, rights and admission policy, from the code that declares them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fusioninfer.api.admission import admission_manifests
from fusioninfer.api.crd import custom_resource_definition, yaml_text
from fusioninfer.cli.render import dumped
from fusioninfer.daemon.rbac import Manifest, install_manifests, user_roles

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
    return {
        "crd.yaml": yaml_text(crd()),
        "rights.yaml": documents(install_manifests(NAMESPACE)),
        "user-roles.yaml": documents(user_roles()),
        "admission-policy.yaml": documents(admission_manifests()),
    }


def documents(manifests: Iterable[Manifest]) -> str:
    """`manifests` in one file."""
    return "".join(f"---\n{dumped(manifest)}" for manifest in manifests)


if __name__ == "__main__":
    for name, text in generated().items():
        (FILES / name).write_text(text)
