"""Writes `api/kubernetes.schema.json`: the schemas of the Kubernetes kinds that we embed, write or imitate.

Read from the sources of the pinned k8s.io/kubernetes (testbed/go/k8s/go.mod), or with `--server KUBECONFIG` from a
live API server: both give the same file, and tests see to it. Descriptions are left out: they are 80 % of the text.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PINNED_BY = REPOSITORY / "testbed/go/k8s"
WRITTEN_TO = REPOSITORY / "src/fusioninfer/api/kubernetes.schema.json"

KINDS = ("Event", "Lease", "Pod", "PodTemplateSpec", "Service", "StatefulSet")
GROUP_VERSIONS = ("api/v1", "apis/apps/v1", "apis/coordination.k8s.io/v1")
PACKAGES = ("core.v1", "apps.v1", "coordination.v1")
"""Where KINDS are looked for; what they refer to is followed anywhere."""

KEPT = (
    "additionalProperties",
    "default",
    "format",
    "items",
    "oneOf",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
)

Schema = dict[str, Any]


def document(schemas: Schema, version: str) -> str:
    """The file's text: what KINDS reach in `schemas` (full name → OpenAPI schema), one definition a line."""
    definitions = {short(name): compact(schema) for name, schema in wanted(schemas).items()}
    lines = (f"{as_json(name)}:{as_json(definitions[name])}" for name in sorted(definitions))
    return '{"definitions":{\n' + ",\n".join(lines) + '\n},"kubernetes":' + as_json(version) + "}\n"


def wanted(schemas: Schema) -> Schema:
    """KINDS and all that they refer to, by full name."""
    roots = {f"io.k8s.api.{package}.{kind}" for package in PACKAGES for kind in KINDS}
    found: Schema = {}
    ahead = sorted(roots & schemas.keys())
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = schemas[name]
            ahead += [full(ref) for ref in references(schemas[name])]
    shorts = [short(name) for name in found]
    ambiguous = sorted({name for name in shorts if shorts.count(name) > 1} | set(KINDS) - set(shorts))
    if ambiguous:
        raise SystemExit(f"absent, or the short name of two definitions: {', '.join(ambiguous)}")
    return found


def references(schema: Any) -> Iterator[str]:
    """Every `$ref` in `schema`."""
    match schema:
        case dict():
            if isinstance(schema.get("$ref"), str):
                yield schema["$ref"]
            for value in schema.values():
                yield from references(value)
        case list():
            for value in schema:
                yield from references(value)


def compact(schema: Schema) -> Schema:
    """`schema` without prose, with short references, and without the `allOf` that OpenAPI 3.0 wraps them in."""
    for wrapped in schema.get("allOf", ()):
        schema = {**schema, **wrapped}
    kept = {key: schema[key] for key in KEPT if key in schema}
    if "$ref" in schema:
        kept["$ref"] = f"#/definitions/{short(schema['$ref'])}"
    if "properties" in kept:
        kept["properties"] = {name: compact(inner) for name, inner in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = compact(kept[key])
    return kept


def full(reference: str) -> str:
    return reference.rpartition("/")[2]


def short(reference: str) -> str:
    return full(reference).rpartition(".")[2]


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def from_module() -> str:
    """The document of the pinned Kubernetes; its module must be in Go's module cache, or be fetched."""
    listed = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", "k8s.io/kubernetes"],
        cwd=PINNED_BY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    version, _, directory = listed.stdout.strip().partition(" ")
    specs = Path(directory) / "api/openapi-spec/v3"
    texts = [(specs / f"{gv.replace('/', '__')}_openapi.json").read_text() for gv in GROUP_VERSIONS]
    return document(merged(texts), version)


def from_server(kubeconfig: Path, kubectl: str) -> str:
    """The document of a live API server."""

    def get(path: str) -> str:
        command = [kubectl, "--kubeconfig", str(kubeconfig), "get", "--raw", path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    version = re.sub(r"[+-].*", "", json.loads(get("/version"))["gitVersion"])
    return document(merged([get(f"/openapi/v3/{gv}") for gv in GROUP_VERSIONS]), version)


def merged(texts: list[str]) -> Schema:
    """The schemas of several OpenAPI v3 documents; what two of them define, they define alike."""
    return {name: schema for text in texts for name, schema in json.loads(text)["components"]["schemas"].items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--server", type=Path, metavar="KUBECONFIG", help="read from this API server")
    arguments.add_argument("--kubectl", default="kubectl", help="the kubectl that speaks to it")
    arguments.add_argument("--output", type=Path, default=WRITTEN_TO)
    chosen = arguments.parse_args()
    text = from_server(chosen.server, chosen.kubectl) if chosen.server else from_module()
    chosen.output.write_text(text)


if __name__ == "__main__":
    main()
