"""A Lease on a server that guards it as API server 1.36.3 was seen to; and lines to it that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec

from fusioninfer.kube import errors
from fusioninfer.kube.requests import Request


class LeaseServer:
    """Holds at most one object, whatever its name."""

    def __init__(self) -> None:
        self.live: dict[str, Any] | None = None
        self.writes = 0
        self.listeners: list[Callable[[], None]] = []
        self._version = 100

    def delete(self) -> None:
        self.live = None
        self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    @property
    def holder(self) -> str:
        return self.live["spec"]["holderIdentity"] if self.live else ""

    def answer(self, request: Request) -> bytes:
        """What happens at the moment in which the server acts."""
        if request.method == "GET":
            return msgspec.json.encode(self._there())
        manifest = msgspec.json.decode(request.body)
        self._check(manifest["metadata"])
        self._version += 1
        self.writes += 1
        uid = self.live["metadata"]["uid"] if self.live else f"uid-{self._version}"
        self.live = {
            **manifest,
            "metadata": {**manifest["metadata"], "uid": uid, "resourceVersion": str(self._version)},
        }
        self._tell()
        return msgspec.json.encode(self.live)

    def _there(self) -> dict[str, Any]:
        if self.live is None:
            raise errors.error_from(404, b'{"reason": "NotFound"}')
        return self.live

    def _check(self, guard: dict[str, Any]) -> None:
        if self.live is None:
            fits = "uid" not in guard
        else:
            live = self.live["metadata"]
            fits = guard["resourceVersion"] == live["resourceVersion"] and guard.get("uid", live["uid"]) == live["uid"]
        if not fits:
            raise errors.error_from(409, b'{"reason": "Conflict"}')


class Line:
    """One process's way to the server. Cut, requests get lost on the way there; muted, answers on the way back."""

    def __init__(self, server: LeaseServer, latency_seconds: float = 0.01) -> None:
        self.server = server
        self.latency_seconds = latency_seconds
        self.cut = False
        self.muted = False
        self.sent = 0
        self.deaf = False
        """No watch is granted, and those that were end."""

    async def send(self, request: Request) -> bytes:
        self.sent += 1
        await asyncio.sleep(self.latency_seconds)
        if self.cut:
            raise errors.Unreachable("the line is cut")
        try:
            answer: bytes | errors.ApiError = self.server.answer(request)
        except errors.ApiError as error:
            answer = error
        await asyncio.sleep(self.latency_seconds)
        if self._loses_answers():
            raise errors.Unreachable("the line is cut")
        if isinstance(answer, errors.ApiError):
            raise answer
        return answer

    def _loses_answers(self) -> bool:
        return self.cut or self.muted

    async def stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """A line for each change; while the line is cut there are none, and nothing says so."""
        assert request.query["fieldSelector"] == "metadata.name=fusioninfer"
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(changed.set)

        self.server.listeners.append(tell)
        try:
            while not self.deaf:
                await changed.wait()
                changed.clear()
                await asyncio.sleep(self.latency_seconds)
                if not self.cut:
                    yield b"{}"
            raise errors.error_from(403, b'{"reason": "Forbidden"}')
        finally:
            self.server.listeners.remove(tell)
