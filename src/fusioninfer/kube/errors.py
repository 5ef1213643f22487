"""Errors of an API server, by what the caller can do about them.

KubeError
├── ApiError               the API server answered, with a Status
│   ├── Refused            400, 413, 415, 422: the request itself is wrong             → tell the user
│   ├── Forbidden          403: no right, or admission said no                         → tell the user, look again later
│   ├── NotFound           404: no such object, or no such API                         → it is gone, or not installed
│   ├── Conflict           409: somebody else wrote first, or it exists already        → look again
│   ├── Gone               410: the resource version or continue token is too old      → list anew
│   ├── WebhookDown        5xx since a webhook of the kind does not answer             → look again later
│   └── Unavailable        401, 429, 5xx: overloaded, broken, or not knowing us         → back off, honour Retry-After
└── Unreachable            no answer: refused, reset, timed out, TLS                   → back off
"""

from __future__ import annotations

import msgspec


class KubeError(Exception):
    """Anything that kept a request to the API server from its answer."""


class Unreachable(KubeError):
    """No whole answer arrived: connection refused, reset, timed out, or TLS failed."""


class Status(msgspec.Struct, frozen=True):
    """The body of an answer that says no (meta/v1 Status), as far as we read it."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


class StatusDetails(msgspec.Struct, frozen=True):
    """What exactly was refused."""

    kind: str = ""
    name: str = ""
    causes: tuple[StatusCause, ...] | None = None
    retryAfterSeconds: int = 0  # noqa: N815 - the wire's name


class StatusCause(msgspec.Struct, frozen=True):
    """One reason of a refusal, with the field that it is about."""

    reason: str = ""
    message: str = ""
    field: str = ""


class ApiError(KubeError):
    """The API server answered with a failure; `status` is what it said."""

    def __init__(self, status: Status, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{status.code} {status.reason}: {status.message}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Refused(ApiError):
    """The request is wrong and stays wrong: schema, validation, size."""


class Forbidden(ApiError):
    """No right to do so, or admission (quota, policy, terminating namespace) said no."""


class NotFound(ApiError):
    """No such object, or no such API."""


class Conflict(ApiError):
    """Somebody else wrote first, the object exists already, or it is another one than was meant."""


class Gone(ApiError):
    """The resource version or continue token is too old; list anew."""


class WebhookDown(ApiError):
    """An admission webhook of the kind does not answer; other kinds are as well as ever."""


class Unavailable(ApiError):
    """Overloaded, broken or not knowing us for now."""


_BY_CODE: dict[int, type[ApiError]] = {
    401: Unavailable,  # a token that has run out: the next one may be good
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: Unavailable,
}

# The server-side apply handler answers 500 when the patch does not fit the schema (seen on 1.36.3):
# a refusal, which no retry mends.
_TYPED_PATCH_FAILED = "failed to create typed patch object"


# What the API server says of a webhook that cannot be reached, times out or answers nonsense
# (apiserver pkg/admission/plugin/webhook/errors, ErrCallingWebhook); seen with code 500 on 1.36.3.
_WEBHOOK_FAILED = "failed calling webhook"


def error_from(code: int, body: bytes, retry_after_seconds: float = 0.0) -> ApiError:
    """The error that an answer with status `code` (≥ 400) and `body` means."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, msgspec.ValidationError):
        status = Status(message=body[:500].decode(errors="replace"))
    if status.code != code:
        status = msgspec.structs.replace(status, code=code)
    if status.details is not None and not retry_after_seconds:
        retry_after_seconds = float(status.details.retryAfterSeconds)
    return _kind_of(status)(status, retry_after_seconds)


def _kind_of(status: Status) -> type[ApiError]:
    if _TYPED_PATCH_FAILED in status.message:
        return Refused
    if status.code >= 500 and _WEBHOOK_FAILED in status.message:
        return WebhookDown
    if status.code in _BY_CODE:
        return _BY_CODE[status.code]
    return Unavailable if status.code >= 500 else Refused
