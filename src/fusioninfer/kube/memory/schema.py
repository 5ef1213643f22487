"""Which values fit where, and how they are merged: shapes, compiled from OpenAPI schemas.

The rules are those by which the API server reads a schema for server-side apply
(kube-openapi pkg/schemaconv/openapi.go; structured-merge-diff schema.Atom and typed.DeducedParseableType).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

Schema = Mapping[str, Any]


class Scalar(Enum):
    """Which values that have no parts fit."""

    NUMBER = "numeric"
    STRING = "string"
    BOOLEAN = "boolean"
    ANY = "any scalar"


class Listing(Enum):
    """What tells the items of a list apart: nothing (it is written as one), their value, or some of their fields."""

    ATOMIC = auto()
    SET = auto()
    KEYED = auto()


@dataclass(slots=True, eq=False)
class ListShape:
    """A list; `keys` tell the items of a KEYED one apart, `key_defaults` stand for keys that an item leaves out."""

    items: Shape
    listing: Listing = Listing.ATOMIC
    keys: tuple[str, ...] = ()
    key_defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class MapShape:
    """A struct or a map: `fields` are declared, `rest` is the shape of all others; None if there may be none."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    rest: Shape | None = None
    atomic: bool = False

    def shape_of(self, name: str) -> Shape | None:
        """The shape of the field `name`; None if there may be no such field."""
        return self.fields.get(name, self.rest)


@dataclass(slots=True, eq=False)
class Shape:
    """What may stand at one place: a scalar, a list, a map, or a choice of these.

    Filled in once and shared; it may contain itself.
    """

    scalar: Scalar | None = None
    list: ListShape | None = None
    map: MapShape | None = None
    nullable: bool = False


def _open_shape(*, atomic: bool) -> Shape:
    """Anything; a map in it is written as one if `atomic`, else field by field."""
    shape = Shape(scalar=Scalar.ANY)
    shape.list = ListShape(_WHOLE if not atomic else shape)
    shape.map = MapShape(rest=shape, atomic=atomic)
    return shape


_WHOLE = _open_shape(atomic=True)
ANYTHING = _open_shape(atomic=False)
"""Where no schema says more: maps field by field, lists as one."""

_SCALARS = {"integer": Scalar.NUMBER, "number": Scalar.NUMBER, "boolean": Scalar.BOOLEAN}
_TEXT_FORMATS = ("", "byte")
"""Formats of a string that takes no number; any other one takes every scalar."""

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_OWNER: Schema = {
    "type": "object",
    "x-kubernetes-map-type": "atomic",
    "properties": {
        "apiVersion": _TEXT,
        "kind": _TEXT,
        "name": _TEXT,
        "uid": _TEXT,
        "controller": _FLAG,
        "blockOwnerDeletion": _FLAG,
    },
}
_METADATA: Schema = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "generateName": _TEXT,
        "namespace": _TEXT,
        "selfLink": _TEXT,
        "uid": _TEXT,
        "resourceVersion": _TEXT,
        "generation": _COUNT,
        "creationTimestamp": _TIME,
        "deletionTimestamp": _TIME,
        "deletionGracePeriodSeconds": _COUNT,
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "finalizers": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
        "ownerReferences": {
            "type": "array",
            "items": _OWNER,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
        },
    },
}
"""ObjectMeta, of every kind: the schemas of custom resources do not spell it out."""


def object_shape(schema: Schema | None, definitions: Schema) -> Shape:
    """The shape of a whole object; without a `schema`, anything fits beside the metadata.

    `definitions` holds, by the last part of a local `$ref`, what it refers to.
    """
    whole = _Compiler(definitions).shape(schema) if schema is not None else Shape(map=MapShape(rest=ANYTHING))
    declared = whole.map or MapShape(rest=ANYTHING)
    text = Shape(scalar=Scalar.STRING)
    every = {"apiVersion": text, "kind": text, "metadata": _Compiler({}).shape(_METADATA)}
    rest = None if declared.fields else declared.rest or ANYTHING
    return Shape(map=MapShape({**declared.fields, **every}, rest))


class _Compiler:
    """Turns schemas into shapes, each definition once."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._shapes: dict[str, Shape] = {}

    def shape(self, schema: Schema, keeps_unknown: bool = False) -> Shape:
        """The shape of `schema`; `keeps_unknown` if something around it preserves unknown fields."""
        match schema:
            case {"$ref": str(reference), **beside}:
                return self._referred(reference.rpartition("/")[2], beside)
            case {"allOf": [{"$ref": str(reference)}], **beside}:
                return self._referred(reference.rpartition("/")[2], beside)
        return self._filled(Shape(), schema, keeps_unknown)

    def _referred(self, name: str, beside: Schema) -> Shape:
        schema = self._definitions[name]
        map_type = beside.get("x-kubernetes-map-type")
        if map_type is not None:
            return self.shape({**schema, "x-kubernetes-map-type": map_type})
        if name not in self._shapes:
            self._shapes[name] = Shape()
            self._filled(self._shapes[name], schema, keeps_unknown=False)
        return self._shapes[name]

    def _filled(self, shape: Shape, schema: Schema, keeps_unknown: bool) -> Shape:
        keeps_unknown = keeps_unknown or schema.get("x-kubernetes-preserve-unknown-fields") is True
        shape.nullable = schema.get("nullable") is True
        match schema.get("type"):
            case "object":
                shape.map = self._map(schema, keeps_unknown)
            case "array":
                shape.list = self._list(schema, keeps_unknown)
            case "string":
                shape.scalar = Scalar.STRING if schema.get("format", "") in _TEXT_FORMATS else Scalar.ANY
            case str(scalar):
                shape.scalar = _SCALARS[scalar]
            case _:
                shape.scalar = Scalar.ANY
                if not _is_scalar_choice(schema):
                    shape.list = self._list(schema, keeps_unknown)
                    shape.map = self._map(schema, keeps_unknown)
        return shape

    def _map(self, schema: Schema, keeps_unknown: bool) -> MapShape:
        properties = schema.get("properties", {})
        fields = {name: self.shape(member, keeps_unknown) for name, member in properties.items()}
        rest: Shape | None
        match schema.get("additionalProperties"):
            case dict(others):
                rest = self.shape(others, keeps_unknown)
            case None:
                rest = ANYTHING if keeps_unknown or not properties else None
            case allowed:
                rest = ANYTHING if allowed else None
        return MapShape(fields, rest, schema.get("x-kubernetes-map-type") == "atomic")

    def _list(self, schema: Schema, keeps_unknown: bool) -> ListShape:
        items = self.shape(schema["items"], keeps_unknown) if "items" in schema else _WHOLE
        listing, keys = _listing(schema)
        return ListShape(items, listing, keys, self._key_defaults(schema, keys))

    def _key_defaults(self, schema: Schema, keys: tuple[str, ...]) -> Mapping[str, Any]:
        if not keys:
            return {}
        properties = self._resolved(schema["items"]).get("properties", {})
        return {key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})}

    def _resolved(self, schema: Schema) -> Schema:
        match schema:
            case {"$ref": str(reference)} | {"allOf": [{"$ref": str(reference)}]}:
                found: Schema = self._definitions[reference.rpartition("/")[2]]
                return found
        return schema


def _is_scalar_choice(schema: Schema) -> bool:
    """It is a Quantity or an IntOrString."""
    return "oneOf" in schema or schema.get("x-kubernetes-int-or-string") is True


def _listing(schema: Schema) -> tuple[Listing, tuple[str, ...]]:
    match schema.get("x-kubernetes-list-type"):
        case "map":
            return Listing.KEYED, tuple(schema["x-kubernetes-list-map-keys"])
        case "set":
            return Listing.SET, ()
    return Listing.ATOMIC, ()
