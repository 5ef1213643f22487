"""A `Kube` that keeps everything in memory: requests in, answers and watch frames out."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from fusioninfer.kube.memory import lists, refusals, scale, selectors
from fusioninfer.kube.memory.fields import Writer
from fusioninfer.kube.memory.garbage import Garbage
from fusioninfer.kube.memory.kinds import Kinds, Served, Target
from fusioninfer.kube.memory.selectors import Selector
from fusioninfer.kube.memory.storage import Place, Storage, Stored, View
from fusioninfer.kube.memory.watches import Watch
from fusioninfer.kube.memory.writes import Deletion, Writes
from fusioninfer.kube.requests import APPLY, Manifest, Request

MERGE_PATCH = "application/merge-patch+json"
UNKNOWN_MANAGER = "unknown"
"""Field manager of an update that names none."""

BOOKMARK_SECONDS = 60.0
"""How often a watch hears how far it is: about as often as from the real one."""
WATCH_SECONDS = 1800.0
"""How long a watch lasts that does not say."""

_NOT_SERVED = ("fieldSelector", "dryRun", "sendInitialEvents", "resourceVersionMatch")


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _uuid() -> str:
    return str(uuid.uuid4())


class MemoryServer:
    """An API server that serves `served`; what it leaves out is in the package's docstring.

    Everything happens at once and in order: a request is carried out whole, with the garbage that it makes, before
    `send` returns. `clock` (UTC) gives the times in metadata, `uids` the uids, and `sleep` lets the seconds pass that a
    watch lasts. The last `kept_changes` over all kinds are remembered: who asks for more hears 410.
    """

    def __init__(
        self,
        served: Sequence[Served],
        *,
        clock: Callable[[], datetime] = _utc_now,
        uids: Callable[[], str] = _uuid,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        kept_changes: int = 10_000,
    ) -> None:
        self._kinds = Kinds(served)
        self._garbage = Garbage(self._kinds)
        self._storage = Storage(kept_changes, self._garbage.heed)
        self._writes = Writes(self._storage, clock, uids)
        self._sleep = sleep
        self._endings = 0

    async def send(self, request: Request) -> bytes:
        """The body of the answer; raises `errors.ApiError`."""
        _refuse_unserved(request)
        target = self._kinds.target(request.path)
        if request.method == "GET":
            return self._one(target, request) if target.name else self._page(target, request)
        answer = self._write(target, request)
        self._garbage.collect(self._storage, self._writes)
        return answer

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        """The lines of a watch, without line ends, until its time is over or `end_watches` was called.

        From a version that is forgotten it is one line, of type ERROR and code 410, as on the real one.
        """
        _refuse_unserved(request)
        target = self._kinds.target(request.path)
        version = request.query.get("resourceVersion", "")
        watch = Watch(self._storage, target, _selector(request), _view(request, listing=False), version)
        seconds = float(request.query.get("timeoutSeconds", WATCH_SECONDS))
        endings = self._endings
        while seconds > 0 and not watch.failed and self._endings == endings:
            async for line in self._follow(watch, min(seconds, BOOKMARK_SECONDS)):
                yield line
            seconds -= BOOKMARK_SECONDS
            if request.query.get("allowWatchBookmarks") == "true" and not watch.failed:
                yield watch.bookmark()

    def end_watches(self) -> None:
        """End all watches, as a server does that goes away."""
        self._endings += 1
        self._storage.wake()

    def forget(self) -> None:
        """Forget what happened so far, as after a compaction: older versions and continue tokens answer 410."""
        self._storage.forget()

    async def _follow(self, watch: Watch, seconds: float) -> AsyncIterator[bytes]:
        """What `watch` hears for so many seconds, or until it fails or all watches end."""
        over = asyncio.ensure_future(self._sleep(seconds))
        endings = self._endings
        try:
            while True:
                for line in watch.news():
                    yield line
                if watch.failed or over.done() or self._endings != endings:
                    return
                if watch.is_up_to_date:
                    await self._storage.changed(over)
        finally:
            over.cancel()

    def _page(self, target: Target, request: Request) -> bytes:
        limit, token = request.query.get("limit", "0"), request.query.get("continue", "")
        if not limit.isdecimal():
            raise refusals.bad_request(f"limit: {limit!r} is no number")
        return lists.page(
            self._storage, target, _selector(request), int(limit), token, _view(request, listing=True)
        )  # fmt: skip

    def _one(self, target: Target, request: Request) -> bytes:
        live = self._live(target)
        if target.subresource == "scale":
            return msgspec.json.encode(scale.scale_of(live))
        return live.shown(_view(request, listing=False))

    def _live(self, target: Target) -> Stored:
        live = self._storage.get(Place.of(target.kind.resource, target.namespace, target.name))
        if live is None:
            raise refusals.not_found(target.kind.resource, target.name)
        return live

    def _write(self, target: Target, request: Request) -> bytes:
        match request.method, bool(target.name):
            case "POST", False if target.namespace or not target.kind.resource.namespaced:
                body = _checked(target, _decoded(request.body))
                return self._writes.create(target, body, self._writer(target, request, "Update")).encoded
            case "PUT", True:
                return self._update(target, request, _decoded(request.body))
            case "PATCH", True if request.content_type == APPLY:
                return self._apply(target, request)
            case "PATCH", True if request.content_type == MERGE_PATCH:
                return self._update(target, request, _merge_patched(self._readable(target), _decoded(request.body)))
            case "PATCH", True:
                raise refusals.unsupported_media_type(request.content_type)
            case "DELETE", True if not target.subresource:
                return self._delete(target, request)
        raise refusals.not_allowed(request.method)

    def _readable(self, target: Target) -> Manifest:
        live = self._live(target)
        return scale.scale_of(live) if target.subresource == "scale" else live.manifest

    def _update(self, target: Target, request: Request, body: Manifest) -> bytes:
        writer = self._writer(target, request, "Update")
        if target.subresource == "scale":
            body = scale.rescaled(self._live(target), body)
            return msgspec.json.encode(scale.scale_of(self._writes.update(target, body, writer)))
        body = _checked(target, body)
        if request.method == "PUT" and target.kind.served.custom and not body["metadata"].get("resourceVersion"):
            why = "Invalid value: 0: must be specified for an update"
            raise refusals.invalid(target.kind.resource, target.name, "metadata.resourceVersion", why)
        return self._writes.update(target, body, writer).encoded

    def _apply(self, target: Target, request: Request) -> bytes:
        if not request.query.get("fieldManager"):
            raise refusals.manager_required()
        if target.subresource == "scale":
            raise refusals.unsupported_media_type(request.content_type)
        body = _checked(target, _decoded(request.body))
        if "managedFields" in body["metadata"]:
            raise refusals.bad_request("metadata.managedFields must be nil")
        writer = self._writer(target, request, "Apply")
        return self._writes.apply(target, body, writer, force=request.query.get("force") == "true").encoded

    def _delete(self, target: Target, request: Request) -> bytes:
        options = _decoded(request.body) if request.body else {}
        guards = options.get("preconditions") or {}
        how = Deletion(
            guards.get("uid") or "",
            guards.get("resourceVersion") or "",
            request.query.get("propagationPolicy") or options.get("propagationPolicy") or "",
        )
        uid = self._live(target).uid
        left = self._writes.delete(target, how)
        return left.encoded if left is not None else _success(target, uid)

    def _writer(self, target: Target, request: Request, operation: str) -> Writer:
        manager = request.query.get("fieldManager") or UNKNOWN_MANAGER
        version = target.kind.resource.api_version
        return Writer(manager, operation, version, target.subresource, self._writes.now())


def _refuse_unserved(request: Request) -> None:
    """Better no answer than one to another question."""
    for name in _NOT_SERVED:
        if name in request.query:
            raise refusals.bad_request(f"{name} is not served")


def _selector(request: Request) -> Selector:
    try:
        return selectors.parse(request.query.get("labelSelector", ""))
    except ValueError as error:
        raise refusals.bad_request(str(error)) from error


def _view(request: Request, *, listing: bool) -> View:
    """How the answer shows an object, by the Accept header."""
    if "as=" not in request.accept:
        return View.WHOLE
    wanted = "PartialObjectMetadataList" if listing else "PartialObjectMetadata"
    if f"as={wanted};" not in f"{request.accept};":
        raise refusals.not_acceptable(request.accept)
    return View.METADATA


def _decoded(body: bytes) -> Manifest:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise refusals.bad_request(f"error decoding JSON: {error}") from error


def _checked(target: Target, body: Manifest) -> Manifest:
    """`body` if it is what the path names; what it leaves out of that is filled in."""
    resource = target.kind.resource
    named = body.get("apiVersion"), body.get("kind")
    if named != (resource.api_version, resource.kind):
        raise refusals.bad_request(f"invalid object type: {named[0]}, Kind={named[1]}")
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise refusals.bad_request("metadata is no object")
    if target.name and metadata.get("name", target.name) != target.name:
        why = f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
        raise refusals.bad_request(why)
    if metadata.get("namespace", target.namespace) != target.namespace:
        raise refusals.bad_request("the namespace of the provided object does not match that of the request")
    return {**body, "metadata": metadata}


def _merge_patched(value: Any, patch: Any) -> Any:
    """`value` with a JSON merge patch (RFC 7386) applied to it."""
    if not isinstance(patch, dict):
        return patch
    kept = value if isinstance(value, dict) else {}
    changed = {name: _merge_patched(kept.get(name), change) for name, change in patch.items() if change is not None}
    return {**{name: child for name, child in kept.items() if name not in patch}, **changed}


def _success(target: Target, uid: str) -> bytes:
    resource = target.kind.resource
    details = {"name": target.name, "group": resource.group, "kind": resource.plural, "uid": uid}
    return msgspec.json.encode(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    )
