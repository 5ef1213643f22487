"""An API server that says what a test wrote down for it, and objects for it to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from fusioninfer.kube.cache import Cache
from fusioninfer.kube.objects import ObjectMeta, OwnedMeta
from fusioninfer.kube.requests import Request, Resource

THINGS = Resource("example.com", "v1", "Thing", "things")


class Thing(msgspec.Struct, frozen=True):
    """An object with something in it."""

    metadata: ObjectMeta
    size: int = 0


class OwnedThing(msgspec.Struct, frozen=True):
    """An object that we write."""

    metadata: OwnedMeta


class Careless(msgspec.Struct, frozen=True):
    """An object that keeps a view into the bytes that it came in."""

    metadata: ObjectMeta
    spec: msgspec.Raw = msgspec.Raw(b"null")


def raw(name: str, version: int, *, uid: str = "", **fields: Any) -> dict[str, Any]:
    """An object as the API server writes it."""
    metadata = {"name": name, "namespace": "default", "uid": uid or f"uid-of-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, **fields}


def a_thing(name: str, version: int, **fields: Any) -> Thing:
    """The same as a cache holds it."""
    return msgspec.convert(raw(name, version, **fields), Thing)


def page(version: int, *items: Any, more: str = "") -> bytes:
    """A page of a list; `more` is its continue token."""
    metadata = {"resourceVersion": str(version)} | ({"continue": more} if more else {})
    return msgspec.json.encode({"kind": "ThingList", "metadata": metadata, "items": list(items)})


def frame(kind: str, content: Any) -> bytes:
    """A line of a watch."""
    return msgspec.json.encode({"type": kind, "object": content})


def added(name: str, version: int, **fields: Any) -> bytes:
    return frame("ADDED", raw(name, version, **fields))


def modified(name: str, version: int, **fields: Any) -> bytes:
    return frame("MODIFIED", raw(name, version, **fields))


def deleted(name: str, version: int, **fields: Any) -> bytes:
    return frame("DELETED", raw(name, version, **fields))


def bookmark(version: int) -> bytes:
    return frame("BOOKMARK", {"metadata": {"resourceVersion": str(version), "creationTimestamp": None}})


def error_frame(code: int, reason: str = "Expired") -> bytes:
    return frame("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": "said in the stream"})


Line = bytes | Exception | Callable[[], None]
"""What a watch says next, how it fails, or what happens meanwhile."""


class Script:
    """Answers every list with the next of `pages` and every watch with the next of `watches`; then it is silent.

    Not a Kube of every trait: it never looks at selectors, limits and versions. What was asked is in `asked`.
    """

    def __init__(self, *pages: bytes | Exception) -> None:
        self.pages = list(pages)
        self.watches: list[tuple[Line, ...]] = []
        self.asked: list[Request] = []
        self.closed = 0
        self.over = asyncio.Event()

    def then_watch(self, *lines: Line) -> Script:
        self.watches.append(lines)
        return self

    @property
    def lists(self) -> list[Request]:
        return [request for request in self.asked if "watch" not in request.query]

    @property
    def watched_from(self) -> list[str]:
        return [request.query["resourceVersion"] for request in self.asked if "watch" in request.query]

    async def send(self, request: Request) -> bytes:
        self.asked.append(request)
        if not self.pages:
            await self._silence()
        answer = self.pages.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        self.asked.append(request)
        if not self.watches:
            await self._silence()
        try:
            for line in self.watches.pop(0):
                if isinstance(line, Exception):
                    raise line
                if isinstance(line, bytes):
                    yield line
                else:
                    line()
        finally:
            self.closed += 1

    async def _silence(self) -> None:
        self.over.set()
        await asyncio.Event().wait()


class Naps:
    """A sleep that takes no time and remembers how long it should have taken."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


Change = tuple[str, int | None, int | None]
"""A name, and its size before and after."""


class Heard:
    """What a cache told of its changes."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, old: Thing | None, new: Thing | None) -> None:
        either = new or old
        assert either is not None
        self.changes.append((either.metadata.name, old.size if old else None, new.size if new else None))


async def play(script: Script, cache: Cache[Any]) -> None:
    """Run the cache until the script is over."""
    running = asyncio.create_task(cache.run())
    over = asyncio.create_task(script.over.wait())
    await asyncio.wait((running, over), return_when=asyncio.FIRST_COMPLETED, timeout=10)
    over.cancel()
    if running.done():
        running.result()
    assert script.over.is_set(), "the cache never came to the end of the script"
    running.cancel()
    await asyncio.wait((running,))
