"""Two questions to the API server: who has a token, and what they may do.

Sources: k8s.io/api authentication/v1 TokenReview and authorization/v1 SubjectAccessReview.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fusioninfer.kube import requests
from fusioninfer.kube.requests import Kube, Resource

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False)


class User(msgspec.Struct, frozen=True):
    """Whom a token belongs to."""

    name: str = msgspec.field(name="username", default="")
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class _Identity(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()


class _TokenReview(msgspec.Struct, frozen=True):
    status: _Identity = _Identity()


class _Decision(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _Decision = _Decision()


async def user_of(kube: Kube, token: str) -> User | None:
    """Whom the API server knows by `token`; None if nobody. Raises `errors.KubeError`."""
    answer = await kube.send(requests.question(TOKEN_REVIEWS, {"token": token}))
    identity = msgspec.json.decode(answer, type=_TokenReview).status
    return identity.user if identity.authenticated and identity.user.name else None


async def may_get(kube: Kube, user: User, path: str) -> bool:
    """Whether `user` may `get` the non-resource `path`. Raises `errors.KubeError`."""
    spec = {
        "user": user.name,
        "uid": user.uid,
        "groups": user.groups,
        "extra": user.extra,
        "nonResourceAttributes": {"path": path, "verb": "get"},
    }
    answer = await kube.send(requests.question(ACCESS_REVIEWS, spec))
    return msgspec.json.decode(answer, type=_AccessReview).status.allowed
