"""The kinds that a server serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fusioninfer.kube.memory import refusals, schema
from fusioninfer.kube.memory.schema import Schema, Shape
from fusioninfer.kube.requests import Resource


@dataclass(frozen=True)
class Served:
    """One kind that is served, by as many servers as are given it: its schema is compiled once.

    `schema` says which fields it has, with `definitions` holding what its local references refer to, by the last part
    of the reference; without one, every field is taken. `subresources` are of `status` and `scale`, the latter for
    `spec.replicas`. `custom` if a CRD declares it: then null is no value, and a PUT needs a resourceVersion.
    `counts_generations` unless metadata.generation never shows, as with ConfigMap, Lease, Service and Event.
    """

    resource: Resource
    schema: Schema | None = None
    subresources: tuple[str, ...] = ("status",)
    definitions: Schema = field(default_factory=dict)
    custom: bool = False
    counts_generations: bool = True

    @cached_property
    def shape(self) -> Shape:
        """The schema, compiled; not to be changed."""
        return schema.object_shape(self.schema, self.definitions)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind that is served."""

    served: Served

    @property
    def shape(self) -> Shape:
        """Its schema, compiled."""
        return self.served.shape

    @property
    def resource(self) -> Resource:
        return self.served.resource

    @property
    def has_status(self) -> bool:
        """Status is written through its subresource alone."""
        return "status" in self.served.subresources


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's path names: a collection if `name` is empty."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


class Kinds:
    """All kinds that a server serves."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        for one in served:
            resource = one.resource
            self._kinds[resource.group, resource.version, resource.plural] = Kind(one)
        self._named = {(kind.resource.group, kind.resource.kind) for kind in self._kinds.values()}
        self._stored = {(kind.resource.group, kind.resource.plural): kind for kind in self._kinds.values()}

    def stored(self, group: str, plural: str) -> Kind:
        """The kind of what is stored in a collection."""
        return self._stored[group, plural]

    def knows_owner(self, reference: Mapping[str, Any]) -> bool:
        """Whether the kind that an owner reference names is served."""
        group, _, _ = reference.get("apiVersion", "").rpartition("/")
        return (group, reference.get("kind", "")) in self._named

    def target(self, path: str) -> Target:
        """What `path` names; raises errors.NotFound if nothing is served there."""
        group, version, rest = _split(path)
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and (group, version, rest[2]) in self._kinds:
            namespace, rest = rest[1], rest[2:]
        kind = self._kinds.get((group, version, rest[0])) if rest else None
        if kind is None or len(rest) > 3 or (kind.resource.namespaced and not namespace and len(rest) > 1):
            raise refusals.no_such_path()
        _, name, subresource = (*rest, "", "")[:3]
        if subresource and subresource not in kind.served.subresources:
            raise refusals.no_such_path()
        return Target(kind, namespace, name, subresource)


def _split(path: str) -> tuple[str, str, list[str]]:
    """Group, version, and the parts after them."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            return "", version, rest
        case ["apis", group, version, *rest]:
            return group, version, rest
    raise refusals.no_such_path()
