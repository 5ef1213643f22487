"""How the API server says no: the Status of every refusal, as `errors` reads it from an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from fusioninfer.kube import errors
from fusioninfer.kube.memory import fields
from fusioninfer.kube.memory.fields import Entry
from fusioninfer.kube.requests import Resource

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def status(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> bytes:
    """A meta/v1 Status that says no."""
    return msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            **({"details": details} if details else {}),
        }
    )


def _error(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> errors.ApiError:
    return errors.error_from(code, status(code, reason, message, details))


def _details(resource: Resource, name: str, causes: Iterable[dict[str, str]] = ()) -> dict[str, Any]:
    listed = list(causes)
    return {
        "name": name,
        "group": resource.group,
        "kind": resource.plural,
        **({"causes": listed} if listed else {}),
    }


def _plural(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def no_such_path() -> errors.ApiError:
    return _error(404, "NotFound", "the server could not find the requested resource")


def not_found(resource: Resource, name: str) -> errors.ApiError:
    return _error(404, "NotFound", f'{_plural(resource)} "{name}" not found', _details(resource, name))


def exists(resource: Resource, name: str) -> errors.ApiError:
    return _error(409, "AlreadyExists", f'{_plural(resource)} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> errors.ApiError:
    message = f'Operation cannot be fulfilled on {_plural(resource)} "{name}": {why}'
    return _error(409, "Conflict", message, _details(resource, name))


def held_by_others(held: Iterable[Entry]) -> errors.ApiError:
    """An apply without force met fields that others hold with other values."""
    causes = [
        {"reason": "FieldManagerConflict", "message": _holder(entry), "field": fields.name_of(path)}
        for entry in held
        for path in fields.in_order(entry.fields)
    ]
    plural = "s" if len(causes) > 1 else ""
    message = f"Apply failed with {len(causes)} conflict{plural}: " + "; ".join(
        f"{cause['message']}: {cause['field']}" for cause in causes
    )
    return _error(409, "Conflict", message, {"causes": causes})


def _holder(entry: Entry) -> str:
    using = "" if entry.writer.operation == "Apply" else f" using {entry.writer.api_version}"
    return f'conflict with "{entry.writer.manager}"{using}'


def bad_request(message: str) -> errors.ApiError:
    return _error(400, "BadRequest", message)


def invalid(resource: Resource, name: str, field: str, why: str) -> errors.ApiError:
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    cause = {"reason": "FieldValueInvalid", "message": why, "field": field}
    message = f'{kind} "{name}" is invalid: {field}: {why}'
    return _error(422, "Invalid", message, {**_details(resource, name, [cause]), "kind": resource.kind})


def untyped_patch(resource: Resource, namespace: str, name: str, problems: Iterable[str]) -> errors.ApiError:
    """An apply does not fit the schema: 500, as the API server has it."""
    # The group is always followed by a slash: `/v1, Kind=ConfigMap`.
    target = f"{namespace}/{name}; {resource.group}/{resource.version}, Kind={resource.kind}"
    return _error(500, "", f"failed to create typed patch object ({target}): {'; '.join(problems)}")


def unsupported_media_type(content_type: str) -> errors.ApiError:
    return _error(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type!r}")


def not_acceptable(accept: str) -> errors.ApiError:
    return _error(406, "NotAcceptable", f"only the following media types are accepted, and not {accept!r}")


def not_allowed(method: str) -> errors.ApiError:
    return _error(405, "MethodNotAllowed", f"the server does not allow {method} on the requested resource")


def expired(message: str) -> errors.ApiError:
    return _error(410, "Expired", message)


def manager_required() -> errors.ApiError:
    cause = {"reason": "FieldValueRequired", "message": "is required for apply patch", "field": "fieldManager"}
    message = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    return _error(422, "Invalid", message, {"kind": "PatchOptions", "causes": [cause]})
