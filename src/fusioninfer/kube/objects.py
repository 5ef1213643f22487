"""What every object has, read as far as we need it.

Typed and partial on purpose: what is not named here is never decoded, held or paid for.
An object read so must never be sent back whole.
"""

from __future__ import annotations

import msgspec


class OwnerReference(msgspec.Struct, frozen=True):
    """Who an object belongs to."""

    uid: str
    kind: str = ""
    name: str = ""
    controller: bool = False


class ManagedFields(msgspec.Struct, frozen=True):
    """Which fields one manager holds (meta/v1 ManagedFieldsEntry)."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    fieldsV1: msgspec.Raw = msgspec.Raw(b"{}")  # noqa: N815 - the wire's name

    def __post_init__(self) -> None:
        # A Raw is a view into the page or frame that it was decoded from, and would keep all of it alive.
        msgspec.structs.force_setattr(self, "fieldsV1", msgspec.Raw(bytes(self.fieldsV1)))


class ObjectMeta(msgspec.Struct, frozen=True):
    """The metadata of an object, without managedFields."""

    name: str
    uid: str = ""
    namespace: str = ""
    resourceVersion: str = ""  # noqa: N815 - the wire's name
    generation: int = 0
    creationTimestamp: str | None = None  # noqa: N815 - the wire's name
    deletionTimestamp: str | None = None  # noqa: N815 - the wire's name
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    ownerReferences: tuple[OwnerReference, ...] = ()  # noqa: N815 - the wire's name

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that controls the object; None if nobody does."""
        return next((owner for owner in self.ownerReferences if owner.controller), None)


class OwnedMeta(ObjectMeta, frozen=True):
    """The metadata of an object that we write: with who holds which fields."""

    managedFields: tuple[ManagedFields, ...] = ()  # noqa: N815 - the wire's name


class Object(msgspec.Struct, frozen=True):
    """Any object, of which only the metadata matters."""

    metadata: ObjectMeta
