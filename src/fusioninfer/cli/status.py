"""`fusioninfer status`: one service as a tree, or all of a namespace as a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from rich.console import Console
from rich.live import Live

from fusioninfer.cli.look import NOT_SERVED, Looked, Missing, listed, look, read_service
from fusioninfer.cli.terminal import put, utc_now
from fusioninfer.cli.tree import table, tree
from fusioninfer.cli.view import NOT_SEEN, Row, View, row_of, view_of
from fusioninfer.kube.requests import Kube
from fusioninfer.reconcile.gateway_api import GATEWAYS, HTTP_ROUTES, POOLS
from fusioninfer.reconcile.snapshot import POD_GROUPS, SERVICES, Service

SHOWN = (POD_GROUPS, GATEWAYS, HTTP_ROUTES, POOLS)
"""Kinds that the status does not tell all of; with the service and its pods 6 requests, side by side."""
LOOK_SECONDS = 0.5
"""Between two looks at the service alone."""
WHOLE_SECONDS = 5.0
"""After which everything is asked anew although the service has not changed."""
READY, NOT_READY = 0, 1
"""Exit codes; 2: there is nothing to show."""


class Output(StrEnum):
    """What is printed."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"


@dataclass(frozen=True, slots=True)
class Following:
    """How long a service is looked at."""

    watch: bool = False
    until_ready: bool = False
    seconds: float = 0.0
    """With `watch`; 0: for ever."""


async def show(
    kube: Kube, console: Console, namespace: str, name: str, output: Output | None, following: Following
) -> int:
    """Print one service, once or at every change; the exit code. Raises Missing, and KubeError."""
    looked = await look(kube, namespace, name, SHOWN)
    wide = output is Output.WIDE
    if following.watch:
        draw = _redrawn(console, wide=wide) if console.is_terminal else _noted(console, wide=wide)
        view = await _follow(kube, looked, following, draw)
    else:
        view = view_of(looked)
        if output in (Output.JSON, Output.YAML):
            print(encoded(view, output), end="")
        else:
            put(tree(view, utc_now(), wide=wide), console)
    return READY if view.is_ready or not following.until_ready else NOT_READY


async def show_all(kube: Kube, console: Console, namespace: str, output: Output | None) -> int:
    """Print all services of `namespace`, or of all if it is empty. Raises Missing, and KubeError."""
    found = await listed(kube, SERVICES, namespace)
    if not found.is_served:
        raise Missing(NOT_SERVED)
    if found.unread:
        raise Missing(found.unread)
    rows = [row_of(service) for service in found.read_as(Service)]
    if output in (Output.JSON, Output.YAML):
        print(encoded(rows, output), end="")
    elif rows:
        put(table(rows, utc_now(), namespaces=not namespace, wide=output is Output.WIDE), console)
    else:
        console.print(f"no {SERVICES.kind} in {f'namespace {namespace}' if namespace else 'any namespace'}")
    return READY


def encoded(shown: View | list[Row], output: Output) -> str:
    """What is shown, for programs."""
    if output is Output.JSON:
        return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n"
    return msgspec.yaml.encode(shown).decode()


# --- following ----------------------------------------------------------------------------------------------------

Draw = Callable[[View, bool], None]
"""Shows a view, which may be the last one, and the same as before."""


async def _follow(kube: Kube, first: Looked, following: Following, draw: Draw) -> View:
    """The last view: the one that is Ready if that was waited for, or the one at the end of the time."""
    clock = asyncio.get_running_loop().time
    end = clock() + (following.seconds or float("inf"))
    views = _views(kube, first)
    while True:
        view = await anext(views)
        is_last = (following.until_ready and view.is_ready) or clock() >= end
        draw(view, is_last)
        if is_last:
            return view


async def _views(kube: Kube, looked: Looked) -> AsyncIterator[View]:
    """The service as it is, every LOOK_SECONDS; what belongs to it is asked for when it has changed, or else seldom."""
    metadata = looked.service.metadata
    clock = asyncio.get_running_loop().time
    at = clock()
    while True:
        yield view_of(looked)
        await asyncio.sleep(LOOK_SECONDS)
        service = await read_service(kube, metadata.namespace, metadata.name)
        has_changed = service.metadata.resourceVersion != looked.service.metadata.resourceVersion
        if has_changed or clock() - at >= WHOLE_SECONDS:
            looked = await look(kube, metadata.namespace, metadata.name, SHOWN)
            at = clock()


def _redrawn(console: Console, *, wide: bool) -> Draw:
    """On a terminal: the tree in its place."""
    live = Live(console=console, auto_refresh=False)

    def draw(view: View, is_last: bool) -> None:
        live.start()
        live.update(tree(view, utc_now(), wide=wide), refresh=True)
        if is_last:
            live.stop()

    return draw


def _noted(console: Console, *, wide: bool) -> Draw:
    """Elsewhere: what Ready says, whenever that is something else, and the tree in the end."""
    said = [""]

    def draw(view: View, is_last: bool) -> None:
        ready = view.condition("Ready")
        words = f"Ready={ready.status}  {ready.reason}: {ready.message}" if ready and view.is_seen else NOT_SEEN
        if words != said[-1]:
            console.print(words, markup=False)
            said.append(words)
        if is_last:
            put(tree(view, utc_now(), wide=wide), console)

    return draw
