"""What an API server refuses by a structural schema, offline: all of it, each with its field. Pure.

As far as ours goes: types, required and unknown fields, bounds, patterns, enums, and what lists tell their items apart
by. CEL rules are not read: `parse` refuses the same, and what only CEL says of a template is `oversized`.
Source: apiextensions-apiserver pkg/apiserver/validation and pkg/apiserver/schema (defaulting, pruning).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fusioninfer.api import types
from fusioninfer.api.crd import QUANTITY
from fusioninfer.api.schema import Schema
from fusioninfer.api.service import InvalidSpec


class UnknownField(InvalidSpec):
    """There is no such field."""


def stored_part(value: Any, schema: Schema) -> Any:
    """`value` without what the API server drops: unknown fields, and nulls of fields that may not be null."""
    if isinstance(value, Mapping) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        return {
            name: stored_part(child, inner)
            for name, child in value.items()
            if (inner := _inner(name, schema)) is not None and not _is_dropped(child, inner)
        }
    if isinstance(value, list):
        return [stored_part(item, schema.get("items", {})) for item in value]
    return value


def _inner(name: str, schema: Schema) -> Schema | None:
    inner: Schema | None = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return inner


def _is_dropped(value: Any, schema: Schema) -> bool:
    return value is None and not schema.get("nullable")


def violations(value: Any, schema: Schema, path: str, around: Schema | None = None) -> Iterator[InvalidSpec]:
    """All that is wrong with `value`, which stands at `path`, by a structural `schema`.

    `around` is the schema of the object in which it stands: for a field that was indented too far.
    """
    if (problem := _of_another_type(value, schema)) is not None:
        yield InvalidSpec(path, problem)
        return
    if value is None:
        return
    yield from (InvalidSpec(path, problem) for problem in _bounds(value, schema))
    if isinstance(value, Mapping):
        yield from _in_object(value, schema, path, around or {})
    if isinstance(value, list):
        yield from _in_list(value, schema, path)


# --- one value ----------------------------------------------------------------------------------------------------

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


def _of_another_type(value: Any, schema: Schema) -> str | None:
    wanted = schema.get("type")
    if value is None:
        return None if schema.get("nullable") or wanted is None else f"must be {_WORDS[wanted]}, and is nothing"
    if schema.get("x-kubernetes-int-or-string"):
        return None if _is_a("integer", value) or _is_a("string", value) else "must be a whole number or a text"
    if wanted is None or _is_a(wanted, value):
        return None
    quoted = "; write it in quotes" if wanted == "string" and isinstance(value, bool | int | float) else ""
    return f"must be {_WORDS[wanted]}, and is {_kind(value)}{quoted}"


def _is_a(wanted: str, value: Any) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    if isinstance(value, float) and wanted == "integer":
        return value.is_integer()
    return isinstance(value, _TYPES[wanted])


def _kind(value: Any) -> str:
    return next((_WORDS[name] for name in _WORDS if _is_a(name, value)), type(value).__name__)


def _bounds(value: Any, schema: Schema) -> Iterator[str]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and value < schema.get("minimum", value):
        yield f"must be at least {schema['minimum']}"
    if is_number and value > schema.get("maximum", value):
        yield f"must be at most {schema['maximum']}"
    for kind, least, most, what in _SIZES:
        if isinstance(value, kind):
            if len(value) < schema.get(least, 0):
                yield f"must have at least {schema[least]} {what}, and has {len(value)}"
            if len(value) > schema.get(most, len(value)):
                yield _too_large(len(value), schema, most, what)
    pattern = schema.get("pattern")
    if pattern and isinstance(value, str) and not re.search(pattern, value):
        yield _PATTERNS.get(pattern, f"must match {pattern}")
    if "enum" in schema and value not in schema["enum"]:
        nearest = difflib.get_close_matches(str(value), schema["enum"], 1)
        meant = f"; did you mean {nearest[0]}?" if nearest else ""
        yield f"must be one of {', '.join(map(str, schema['enum']))}{meant}"


_PATTERNS = {
    QUANTITY: "is no amount such as 80Gi, 2 or 0.5",
    types.DNS_LABEL: "must be a DNS label: a-z, 0-9, '-', with a letter or a digit at both ends",
    types.OPEN_NAME: "must be of a-z, 0-9, '-' and '.', with a letter or a digit at both ends",
    types.PERCENT: "must be a number of copies, or a percentage of them such as '25%'",
}
_SIZES = (
    (str, "minLength", "maxLength", "characters"),
    (list, "minItems", "maxItems", "items"),
    (Mapping, "minProperties", "maxProperties", "fields"),
)


def _too_large(size: int, schema: Schema, most: str, what: str) -> str:
    if schema.get("pattern") == QUANTITY:
        return "is no amount such as 80Gi, 2 or 0.5; a name with a dot is one key, such as nvidia.com/gpu"
    return f"must have at most {schema[most]} {what}, and has {size}"


# --- what is in it ------------------------------------------------------------------------------------------------


def _in_object(value: Mapping[str, Any], schema: Schema, path: str, around: Schema) -> Iterator[InvalidSpec]:
    for name in schema.get("required", ()):
        if value.get(name) is None:
            yield InvalidSpec(f"{path}.{name}", "is missing")
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, child in value.items():
        inner = _inner(name, schema)
        if inner is None:
            yield UnknownField(f"{path}.{name}", f"there is no such field; {_meant(name, schema, around)}")
        elif not _is_dropped(child, inner):
            yield from violations(child, inner, f"{path}.{name}", schema)


def _meant(name: str, schema: Schema, around: Schema) -> str:
    """Which field was probably meant by `name`: one beside it, else one that stands further out or further in."""
    known: Schema = schema.get("properties", {})
    if nearest := difflib.get_close_matches(name, known, 1):
        return f"did you mean {nearest[0]}?"
    if name in around.get("properties", {}):
        return "it belongs one level further out"
    inside = {
        f"{outer}.{field}": field
        for outer, inner in known.items()
        for field in {**inner.get("properties", {}), **inner.get("items", {}).get("properties", {})}
    }
    if nearest := difflib.get_close_matches(name, inside.values(), 1):
        return f"did you mean {next(path for path, field in inside.items() if field == nearest[0])}?"
    return "is it misspelt, or indented wrongly?"


def _in_list(value: list[Any], schema: Schema, path: str) -> Iterator[InvalidSpec]:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: list[Any] = []
    for index, item in enumerate(value):
        if keys and isinstance(item, Mapping) and all(key in item for key in keys):
            marks = [item[key] for key in keys]
            if marks in seen:
                yield InvalidSpec(f"{path}[{index}].{keys[0]}", f"{marks[0]!r} is there twice; remove one")
            seen.append(marks)
        yield from violations(item, schema.get("items", {}), f"{path}[{index}]")


# --- what only CEL says ---------------------------------------------------------------------------------------------


def oversized(template: Any, path: str) -> Iterator[InvalidSpec]:
    """What `types.TEMPLATE_RULES` refuse of a pod template at `path`; nothing of what is no template at all."""
    words, annotations = (rule["message"] for rule in types.TEMPLATE_RULES["x-kubernetes-validations"])
    if _bytes_of_containers(template) > types.MAX_TEMPLATE_BYTES:
        yield InvalidSpec(path, words)
    written = _at(template, "metadata", "annotations")
    if (
        isinstance(written, Mapping)
        and sum(len(k) + len(str(v)) for k, v in written.items()) > types.MAX_TEMPLATE_BYTES
    ):
        yield InvalidSpec(path, annotations)


def _bytes_of_containers(template: Any) -> int:
    containers = [
        container
        for kind in ("containers", "initContainers")
        for container in _listed(_at(template, "spec", kind))
        if isinstance(container, Mapping)
    ]
    written = [word for one in containers for field in ("command", "args") for word in _listed(one.get(field))]
    values = [_at(variable, "value") for one in containers for variable in _listed(one.get("env"))]
    return sum(len(word) for word in (*written, *values) if isinstance(word, str))


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
