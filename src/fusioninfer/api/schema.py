"""The schemas of Kubernetes' own kinds, from kubernetes.schema.json, which tools/kubernetes_schema.py writes."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import msgspec

Schema = dict[str, Any]


class _Document(msgspec.Struct, frozen=True):
    kubernetes: str
    definitions: Schema


def kubernetes_version() -> str:
    """The Kubernetes that the schemas were read from, such as v1.36.3."""
    return _document().kubernetes


def kubernetes_definitions() -> Schema:
    """Short name (`PodSpec`) → schema, which refers to others by `#/definitions/<short name>`.

    As the API server publishes them in OpenAPI v3, with defaults, list types and map types, without descriptions.
    Shared: not to be changed.
    """
    return _document().definitions


def schema_of(name: str) -> Schema:
    """The schema of `name` with every reference replaced by what it refers to; the caller's own copy."""
    inlined: Schema = _inlined(kubernetes_definitions()[name])
    return inlined


@cache
def _document() -> _Document:
    text = resources.files(__package__).joinpath("kubernetes.schema.json").read_bytes()
    return msgspec.json.decode(text, type=_Document)


def _inlined(node: Any) -> Any:
    match node:
        case {"$ref": str(reference), **beside}:
            return {**schema_of(reference.rpartition("/")[2]), **_inlined(beside)}
        case dict():
            return {key: _inlined(value) for key, value in node.items()}
        case list():
            return [_inlined(value) for value in node]
    return node
