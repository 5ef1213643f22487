"""`fusioninfer logs`: what the pods of a service say, each line with its pod where there are several."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from fusioninfer.api.parse import parse
from fusioninfer.api.service import InvalidSpec
from fusioninfer.build import engines
from fusioninfer.build.router.deployment import PICKER
from fusioninfer.cli.look import Looked, Missing, look
from fusioninfer.cli.view import Role, roles_in, view_of, written
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.snapshot import PODS

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")
SAID, NOTHING = 0, 1
"""Exit codes: 1 if there was no log of any pod."""


class Streams(Kube, Protocol):
    """An API server whose answers come piece by piece."""

    def pieces(self, request: Request) -> AsyncIterator[bytes]:
        """What arrives of an answer, as it arrives."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a log."""

    follow: bool = False
    tail: int | None = None
    """Lines; None: all."""
    previous: bool = False
    """Of the container's run before this one."""
    container: str = ""
    """Empty: the engine's, or the picker's."""


@dataclass(frozen=True, slots=True)
class Source:
    """The log of one container."""

    namespace: str
    pod: str
    container: str

    def request(self, wanted: Wanted) -> Request:
        query = {"container": self.container}
        query |= {"follow": "true"} if wanted.follow else {}
        query |= {"previous": "true"} if wanted.previous else {}
        query |= {} if wanted.tail is None else {"tailLines": str(wanted.tail)}
        return Request("GET", PODS.path(self.namespace, self.pod, "log"), query, accept="*/*")


async def logs(
    kube: Streams, console: Console, complaints: Console, namespace: str, name: str, role: str, wanted: Wanted
) -> int:  # fmt: skip
    """Print the logs of the pods of `role`, or of all engine roles if it is empty; the exit code.

    Raises Missing if there is no such role or no pod, and KubeError.
    """
    sources = sources_of(await look(kube, namespace, name, ()), role, wanted.container)

    async def read(source: Source) -> bool:
        try:
            async for line in lines(kube.pieces(source.request(wanted))):
                console.print(prefixed(source.pod, line) if len(sources) > 1 else Text(line), soft_wrap=True)
        except errors.ApiError as refusal:
            complaints.print(f"{source.pod}: {refusal.status.message}", style="yellow", markup=False, soft_wrap=True)
            return False
        return True

    if wanted.follow:
        read_any = any(await asyncio.gather(*map(read, sources)))
    else:
        read_any = any([await read(source) for source in sources])
    return SAID if read_any else NOTHING


def sources_of(looked: Looked, role: str, container: str) -> tuple[Source, ...]:
    """The logs of the pods of `role`, or of all engine roles if it is empty. Raises Missing."""
    view = view_of(looked)
    chosen = [one for one in view.roles if (one.name == role if role else one.componentType != "router")]
    if role and not chosen:
        there = ", ".join(one.name for one in view.roles)
        raise Missing(f"service {view.name} has no role {role}; there are {there}")
    found = tuple(
        Source(view.namespace, pod.name, container or container_of(looked, one)) for one in chosen for pod in one.pods
    )
    if not found:
        why = looked.unread.get(PODS.kind) or f"there is no pod yet; `fusioninfer explain {view.name}` says why"
        raise Missing(f"{view.name}{f', role {role}' if role else ''}: {why}")
    return found


def container_of(looked: Looked, role: Role) -> str:
    """The container that runs the engine, or the picker; of a spec that makes no sense the first of the template."""
    if role.componentType == "router":
        return PICKER
    try:
        parsed = {one.name: one for one in parse(looked.service.raw).roles}
        return engines.found(parsed[role.name], engines.installed()).container_name
    except (InvalidSpec, KeyError):
        return _first_container(looked, role.name)


def _first_container(looked: Looked, role: str) -> str:
    for one in roles_in(written(looked.service)):
        if one.get("name") == role:
            containers: list[Any] = ((one.get("template") or {}).get("spec") or {}).get("containers") or []
            return next((str(each.get("name")) for each in containers), "")
    return ""


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of what arrives; the last one even without its end."""
    begun = b""
    async for piece in pieces:
        *whole, begun = (begun + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if begun:
        yield begun.decode(errors="replace")


def prefixed(pod: str, line: str) -> Text:
    """The line behind its pod's name, which has the same colour each time."""
    return Text.assemble((pod, COLOURS[zlib.crc32(pod.encode()) % len(COLOURS)]), " ", line)
