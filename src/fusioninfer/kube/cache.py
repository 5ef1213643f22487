"""What an API server holds of one kind of object, kept here and kept up to date by list and watch.

Nothing reads the API server but this: whoever wants to know looks here, and is told of changes.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from typing import Generic, NoReturn, Protocol, TypeVar

import msgspec
import structlog

from fusioninfer.kube import errors, watch
from fusioninfer.kube.objects import Object, ObjectMeta
from fusioninfer.kube.requests import JSON, Kube, Resource
from fusioninfer.kube.watch import Collection

log = structlog.get_logger(__name__)

_OBJECTS = msgspec.json.Decoder(Object)

PAGE = 500
"""Objects asked for at once (client-go's default)."""
SMALLEST_PAGE = 16
"""So few fit into any answer, even at the size that etcd allows an object: 1.5 MiB."""
WATCH_SECONDS = 300
"""The least time that a watch is asked to last; the most is twice that, so that watches do not end all at once."""
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 30.0
LONGEST_ASKED_SECONDS = 60.0
"""The most that a Retry-After is honoured."""
UNSERVED_SECONDS = 5.0
"""How often we ask for a kind that is not installed."""
DOUBTFUL = 5
"""So many failures in a row, without a word in between, and what we think we know is no longer built upon."""
GRAVES = 8192
"""Deleted objects that are remembered: more than are deleted while an answer to one write is under way."""


class Kept(Protocol):
    """What a cache can hold."""

    @property
    def metadata(self) -> ObjectMeta: ...


T = TypeVar("T", bound=Kept)

Place = tuple[str, str]
"""Namespace and name."""
OnChange = Callable[[T | None, T | None], None]
"""Hears what was and what is now at one place: None for nothing."""


def _nobody(old: object, new: object) -> None:
    """Hears nothing."""


def _unindexed(live: object) -> None:
    """Belongs to no key."""


class Store(Generic[T]):
    """Objects by namespace and name, and by a key of the caller's: of each the latest version that was seen.

    What arrives late is recognised by its version (meta/v1: a number that grows, comparable within a kind)
    and dropped: an older state, an object that was replaced by another of the same name, one that is deleted.
    """

    def __init__(self, index_by: Callable[[T], Hashable | None], on_change: OnChange[T]) -> None:
        self._index_by = index_by
        self._on_change = on_change
        self._objects: dict[Place, T] = {}
        self._index: dict[Hashable, dict[Place, T]] = {}
        self._graves: OrderedDict[str, int] = OrderedDict()
        """The version at which an object, by its uid, was deleted or left the selection."""

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get((namespace, name))

    def select(self, key: Hashable) -> tuple[T, ...]:
        return tuple(self._index.get(key, {}).values())

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, new: T) -> None:
        """Take `new`, unless as much or more is known of it or of its place."""
        version = version_of(new.metadata)
        old = self._objects.get(place_of(new.metadata))
        is_late = old is not None and version <= version_of(old.metadata)
        if not is_late and version > self._graves.get(new.metadata.uid, -1):
            self._change(old, new)

    def overwrite(self, new: T) -> None:
        """Take `new`, whatever its version."""
        old = self._objects.get(place_of(new.metadata))
        if old is None or _identity(old) != _identity(new):
            self._graves.pop(new.metadata.uid, None)
            self._change(old, new)

    def delete(self, gone: ObjectMeta) -> None:
        """Forget what was deleted, or left the selection, at the version that `gone` has.

        One of the same name that is younger than that is another, or came back: it stays.
        """
        self._bury(gone.uid, version_of(gone))
        old = self._objects.get(place_of(gone))
        if old is not None and version_of(old.metadata) <= version_of(gone):
            self._change(old, None)

    def keep_only(self, places: set[Place], version: int) -> None:
        """Forget what is not at one of `places`, as a list of `version` has it; what is younger than that stays."""
        for place, old in tuple(self._objects.items()):
            if place not in places and version_of(old.metadata) <= version:
                self._bury(old.metadata.uid, version)
                self._change(old, None)

    def _change(self, old: T | None, new: T | None) -> None:
        if old is not None:
            self._remove(old)
        if new is not None:
            if old is not None and old.metadata.uid != new.metadata.uid:
                self._bury(old.metadata.uid, version_of(new.metadata))
            self._insert(new)
        self._on_change(old, new)

    def _remove(self, old: T) -> None:
        place = place_of(old.metadata)
        del self._objects[place]
        key = self._index_by(old)
        if key is not None:
            members = self._index[key]
            del members[place]
            if not members:
                del self._index[key]

    def _insert(self, new: T) -> None:
        place = place_of(new.metadata)
        self._objects[place] = new
        key = self._index_by(new)
        if key is not None:
            self._index.setdefault(key, {})[place] = new

    def _bury(self, uid: str, version: int) -> None:
        self._graves[uid] = version
        self._graves.move_to_end(uid)
        if len(self._graves) > GRAVES:
            self._graves.popitem(last=False)


class Cache(Generic[T]):
    """A store of `kind`, as the API server has it, while `run` runs.

    `on_change` hears of every change, first of what was there already; `on_installed` when a kind that the API server
    did not know is served, all of it being here; `index_by` gives the key for `select`.
    There is no way to forget what we deleted: an answered DELETE means that the object will go, not that it is gone.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        kind: type[T],
        *,
        namespace: str = "",
        labels: str = "",
        accept: str = JSON,
        index_by: Callable[[T], Hashable | None] = _unindexed,
        on_change: OnChange[T] = _nobody,
        on_installed: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.synced = asyncio.Event()
        """Set once everything is here, or once it is known that there is nothing: the kind is not installed."""
        self.served = True
        """False while the API server does not know the kind; what was seen before stays."""
        self.failure: errors.KubeError | None = None
        """Why nothing is heard at present; None while something is."""
        self.relists = 0
        """Lists that came to their end, the first one included."""
        self.reconnects = 0
        """Watches that ended, however."""
        self.garbage = 0
        """Pages and frames that could not be read."""
        self._kube = kube
        self._collection = Collection(resource, namespace, labels, accept)
        self._decode = msgspec.json.Decoder(kind).decode
        self._store = Store(index_by, on_change)
        self._on_installed = on_installed
        self._sleep = sleep
        self._random = random
        self._poked = asyncio.Event()
        self._version = ""
        """From where to watch; empty: list anew."""
        self._reached = 0
        """The latest version that the API server ever spoke of."""
        self._failures = 0
        """In a row, without a word from the API server in between."""

    def get(self, namespace: str, name: str) -> T | None:
        """The object of that name; None if there is none."""
        return self._store.get(namespace, name)

    def select(self, key: Hashable) -> tuple[T, ...]:
        """The objects of that key, by `index_by`."""
        return self._store.select(key)

    def __iter__(self) -> Iterator[T]:
        return iter(self._store)

    def __len__(self) -> int:
        return len(self._store)

    def note(self, live: T) -> None:
        """Take in what the API server answered to a write of ours, if it is news.

        `on_change` hears of it: the answer may hold somebody else's change too, whose event is no news afterwards.
        """
        self._store.put(live)

    def poke(self) -> None:
        """Try at once what else would be tried after a while: the kind may be installed by now."""
        self._poked.set()

    async def run(self) -> NoReturn:
        """Follow the API server for ever, whatever it does; cancel the task to stop."""
        while True:
            try:
                await self._follow()
            except errors.KubeError as error:
                await self._recover(error)

    async def _follow(self) -> None:
        """List if need be, then watch until the API server ends the watch."""
        if not self._version:
            await self._list()
        if not await self._watch():  # every real watch ends with a bookmark; such a one is not resumed at full speed
            raise errors.Unreachable("the watch ended without a word")

    async def _list(self) -> None:
        limit = max(SMALLEST_PAGE, PAGE >> self._failures)  # the last one may have been too large, or too slow
        listed: set[Place] = set()
        page = watch.page(await self._kube.send(self._collection.page(limit)))
        version = _number(page.metadata.resourceVersion)
        # etcd was restored from a backup: of what we know nothing is comparable with what is true now.
        restored = version < self._reached
        self._take_page(page, listed, restored)
        while page.metadata.continue_token:
            page = watch.page(await self._kube.send(self._collection.page(limit, page.metadata.continue_token)))
            self._take_page(page, listed, restored)
        self._store.keep_only(listed, max(version, self._reached))
        self._reached = version
        self._version = page.metadata.resourceVersion
        self.relists += 1
        self._is_answered()

    def _take_page(self, page: watch.Page, listed: set[Place], restored: bool) -> None:
        """Put the objects of `page` into the store, and their places into `listed`."""
        put = self._store.overwrite if restored else self._store.put
        for raw in page.items or ():
            live = self._object(bytes(raw))  # a copy, so that nothing can hold on to the page
            metadata = live.metadata if live is not None else self._metadata(raw)
            if live is not None:
                put(live)
            if metadata is not None:
                listed.add(place_of(metadata))

    async def _watch(self) -> bool:
        """Take in what happens until the API server ends the watch; False if it never said anything."""
        seconds = int(WATCH_SECONDS * (1 + self._random()))
        heard = False
        lines = self._kube.stream(self._collection.watch(self._version, seconds))
        try:
            async for line in lines:
                self._take_frame(watch.frame(line))
                self._is_answered()
                heard = True
        finally:
            self.reconnects += 1
            if isinstance(lines, AsyncGenerator):  # else its connection stays open until it is collected
                await lines.aclose()
        return heard

    def _take_frame(self, frame: watch.Frame) -> None:
        match frame.type:
            case "ADDED" | "MODIFIED":
                live = self._object(frame.object)
                metadata = live.metadata if live is not None else self._metadata(frame.object)
                if live is not None:
                    self._store.put(live)
            case "DELETED":
                metadata = self._metadata(frame.object)
                if metadata is not None:
                    self._store.delete(metadata)
            case "BOOKMARK":
                self._reach(watch.bookmark(frame.object).resourceVersion)
                return
            case _:
                return
        if metadata is not None:
            self._reach(metadata.resourceVersion)

    def _reach(self, version: str) -> None:
        self._version = version
        self._reached = _number(version)

    def _object(self, raw: bytes | msgspec.Raw) -> T | None:
        """The object in `raw`; None if it is not as its kind should be: somebody's oddity, that must not stop us."""
        try:
            return self._decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            metadata = self._metadata(raw)
            log.warning(
                "object skipped",
                kind=self._collection.resource.kind,
                namespace=metadata.namespace if metadata else "",
                name=metadata.name if metadata else "",
                error=str(error),
            )
            return None

    @staticmethod
    def _metadata(raw: bytes | msgspec.Raw) -> ObjectMeta | None:
        try:
            return _OBJECTS.decode(raw).metadata
        except (msgspec.DecodeError, RecursionError):
            return None

    def _is_answered(self) -> None:
        self._failures = 0
        self.failure = None
        self.synced.set()
        if not self.served:
            self.served = True
            self._on_installed()

    async def _recover(self, error: errors.KubeError) -> None:
        """Decide from where to go on after `error`, and wait."""
        if isinstance(error, errors.NotFound):
            await self._await_installation(error)
            return
        self.failure = error
        self.garbage += isinstance(error, watch.Garbled)
        wait = self._wait_after(error)
        self._failures += 1
        if isinstance(error, errors.Gone) or self._failures >= DOUBTFUL:
            self._version = ""
        kind = self._collection.resource.kind
        log.warning("not followed", kind=kind, error=str(error), again_in_seconds=round(wait, 3))
        await self._pause(wait)

    async def _await_installation(self, error: errors.NotFound) -> None:
        if self.served:
            log.warning("not installed", kind=self._collection.resource.kind, error=str(error))
        self.failure = error
        self.served = False
        self.synced.set()
        self._version = ""
        await self._pause(UNSERVED_SECONDS)

    def _wait_after(self, error: errors.KubeError) -> float:
        """Seconds until the next try."""
        asked = error.retry_after_seconds if isinstance(error, errors.Unavailable) else 0.0
        return max(self._backoff(), min(asked, LONGEST_ASKED_SECONDS))

    def _backoff(self) -> float:
        """Seconds: doubling with every failure; half of them by chance, so that not all clients come back at once."""
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures, 16))
        return longest * (1 + self._random()) / 2

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless poked before or meanwhile."""
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        poked = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait((sleeping, poked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            poked.cancel()
        self._poked.clear()


def place_of(metadata: ObjectMeta) -> Place:
    """Where the object is."""
    return metadata.namespace, metadata.name


def version_of(metadata: ObjectMeta) -> int:
    """Its resourceVersion; 0 if it has none."""
    return _number(metadata.resourceVersion)


def _number(version: str) -> int:
    """A resourceVersion as a number; one that is none is older than any."""
    return int(version) if version.isdecimal() else 0


def _identity(live: Kept) -> tuple[str, str]:
    return live.metadata.uid, live.metadata.resourceVersion
