"""What an API server sends when a collection is listed and watched: bytes → pages and frames. No I/O.

The objects in them stay undecoded, as views into the bytes: decode them, or copy them, before keeping any.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import JSON, Request, Resource

Decoded = TypeVar("Decoded")

DEEPEST = 200
"""Levels of nesting that are read; no kind of object has nearly as many."""


class Garbled(errors.KubeError):
    """What arrived is no page or frame: not JSON, or other JSON."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What is listed and watched: all namespaces if `namespace` is empty."""

    resource: Resource
    namespace: str = ""
    labels: str = ""
    accept: str = JSON

    def page(self, limit: int, continue_token: str = "") -> Request:
        """Read its next `limit` objects."""
        return requests.list_page(
            self.resource,
            self.namespace,
            labels=self.labels,
            limit=limit,
            continue_token=continue_token,
            accept=self.accept,
        )

    def watch(self, version: str, timeout_seconds: int) -> Request:
        """Follow it from `version` on."""
        return requests.watch(
            self.resource,
            self.namespace,
            labels=self.labels,
            resource_version=version,
            timeout_seconds=timeout_seconds,
            # A frame holds one object: asked for a list, the API server answers 406
            # (apiserver pkg/endpoints/handlers/response.go, asPartialObjectMetadataList).
            accept=self.accept.replace("PartialObjectMetadataList", "PartialObjectMetadata"),
        )


class Position(msgspec.Struct, frozen=True):
    """How far a page or a bookmark reaches (meta/v1 ListMeta)."""

    resourceVersion: str = ""  # noqa: N815 - the wire's name
    continue_token: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, frozen=True):
    """A part of a collection; all parts are of the same version."""

    metadata: Position
    items: list[msgspec.Raw] | None = None


class Frame(msgspec.Struct, frozen=True):
    """One thing that happened: ADDED, MODIFIED, DELETED, or a BOOKMARK."""

    type: str
    object: msgspec.Raw


class Bookmark(msgspec.Struct, frozen=True):
    """Nothing happened up to here."""

    metadata: Position


_PAGES = msgspec.json.Decoder(Page)
_FRAMES = msgspec.json.Decoder(Frame)
_BOOKMARKS = msgspec.json.Decoder(Bookmark)


def page(body: bytes) -> Page:
    """The page in `body`; raises Garbled."""
    return _decoded(_PAGES.decode, body)


def frame(line: bytes) -> Frame:
    """The frame in `line`; raises Garbled, or what an ERROR frame means: `errors.Gone` foremost."""
    decoded = _decoded(_FRAMES.decode, line)
    if decoded.type == "ERROR":
        raise _error(bytes(decoded.object))
    return decoded


def bookmark(raw: msgspec.Raw) -> Position:
    """How far a BOOKMARK reaches; raises Garbled."""
    return _decoded(_BOOKMARKS.decode, raw).metadata


def _error(status: bytes) -> errors.ApiError:
    code = _decoded(msgspec.json.Decoder(errors.Status).decode, status).code
    return errors.error_from(code or 500, status)


def _decoded(decode: Callable[[bytes | msgspec.Raw], Decoded], data: bytes | msgspec.Raw) -> Decoded:
    try:
        try:
            return decode(data)
        except RecursionError:  # somebody's object is nested thousands deep, and must not hide all others of its page
            return decode(shallow(bytes(data)))
    except msgspec.DecodeError as error:
        raise Garbled(f"{error}: {bytes(data)[:100]!r}") from error


_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')


def shallow(text: bytes) -> bytes:
    """JSON `text` with a word of complaint in place of all that is nested more than DEEPEST levels deep.

    Not by a JSON decoder: all of them recurse.
    """
    kept = []
    level = start = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in b"[{":
            level += 1
            if level == DEEPEST + 1:
                kept.append(text[start : token.start()])
        elif token[0] in b"]}":
            level -= 1
            if level == DEEPEST:
                kept.append(b'"nested too deep"')
                start = token.end()
    return b"".join((*kept, text[start:]))
