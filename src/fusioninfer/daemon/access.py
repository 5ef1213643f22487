"""Who may read the metrics: a class for each way of knowing it.

In a cluster the API server knows. A token is what it says it is if a TokenReview takes it for one, and its owner may
read if a SubjectAccessReview lets it `get` the path: as the API server and the kubelet guard their own metrics, so that
the ClusterRole which Prometheus has for those is one for ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from fusioninfer.daemon import reviews
from fusioninfer.daemon.rbac import METRICS_PATH, METRICS_READER
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Kube

ALLOWED_SECONDS = 60.0
"""How long who was let in is let in again unasked: a right that was taken away ends so much later."""
REFUSED_SECONDS = 10.0
"""How long who was refused is refused unasked: a right that was given begins so much later, at most."""
REMEMBERED = 256
"""Answers that are kept at most. Few read metrics; many tokens are somebody's guesses."""
PATIENCE_SECONDS = 8.0
"""How long a reader waits for the API server's word; less than the 10 s that Prometheus waits for us."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not read, and as which HTTP status."""

    status: int
    sentence: str


NO_TOKEN = Refusal(401, "metrics ask for a bearer token")


class Access(Protocol):
    """A way of knowing who may read the metrics."""

    async def refusal(self, authorization: str) -> Refusal | None:
        """What is answered to an Authorization header that may not read; None if it may."""
        ...


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """Everybody, where only this machine can ask."""

    bind_address: str

    async def refusal(self, authorization: str) -> Refusal | None:
        if _is_loopback(self.bind_address):
            return None
        return Refusal(
            403,
            "metrics are closed: let the API server say who may read them (--metrics-token-review), "
            "set a token file (--metrics-token-file), or bind to 127.0.0.1 (--bind-address)",
        )


@dataclass(frozen=True, slots=True)
class TokenFile:
    """Whoever has the token that stands in a file."""

    path: Path

    async def refusal(self, authorization: str) -> Refusal | None:
        try:
            # Read every time: whoever mounts the token may renew it.
            token = self.path.read_text().strip()
        except OSError as error:
            return Refusal(403, f"metrics are closed: the token cannot be read: {error.strerror}")
        if token and hmac.compare_digest(authorization.encode(errors="replace"), f"Bearer {token}".encode()):
            return None
        return NO_TOKEN


class TokenReview:
    """Whoever the API server knows by its token, and lets `get` the path of the metrics.

    Its answers are kept for a while, under hashes of the tokens; that it gave none is not. While it gives none, who
    was let in lately still is, and nobody else. It is asked by one reader at a time: guessed tokens, each of which
    costs a request, can cost no more than that.
    """

    def __init__(self, kube: Kube, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._monotonic = monotonic
        self._one_at_a_time = asyncio.Lock()
        self._remembered: dict[bytes, _Answer] = {}

    async def refusal(self, authorization: str) -> Refusal | None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or not token.isascii():
            return NO_TOKEN
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._known(token)
        except errors.Forbidden as error:
            return Refusal(500, f"metrics are closed: the operator may not ask who you are: {error.status.message}")
        except (errors.KubeError, msgspec.MsgspecError, TimeoutError) as error:
            said = str(error) or f"no answer within {PATIENCE_SECONDS:.0f} s"
            return Refusal(503, f"metrics are closed: the API server does not say who you are: {said}")

    async def _known(self, token: str) -> Refusal | None:
        key = hashlib.sha256(token.encode()).digest()
        answer = self._recalled(key)
        if answer is None:
            async with self._one_at_a_time:
                answer = self._recalled(key)  # whoever was before us may have asked the same
                if answer is None:
                    answer = self._remember(key, await self._asked(token))
        return answer.refusal

    async def _asked(self, token: str) -> Refusal | None:
        user = await reviews.user_of(self._kube, token)
        if user is None:
            return Refusal(401, "the API server does not know this bearer token, or no longer")
        if await reviews.may_get(self._kube, user, METRICS_PATH):
            return None
        return Refusal(403, f"{user.name} may not get {METRICS_PATH}: bind it to the ClusterRole {METRICS_READER}")

    def _recalled(self, key: bytes) -> _Answer | None:
        answer = self._remembered.get(key)
        return answer if answer is not None and self._monotonic() < answer.until else None

    def _remember(self, key: bytes, refusal: Refusal | None) -> _Answer:
        now = self._monotonic()
        self._remembered.pop(key, None)  # what is new goes to the end
        while len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        answer = _Answer(refusal, now + (REFUSED_SECONDS if refusal else ALLOWED_SECONDS))
        self._remembered[key] = answer
        return answer


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was said of a token, and until when that holds."""

    refusal: Refusal | None
    until: float


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
