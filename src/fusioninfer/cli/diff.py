"""`fusioninfer diff`: what a file would change in a cluster, by the operator's own plan. Nothing is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, desired_objects
from fusioninfer.build.engines import Engines
from fusioninfer.build.router.strategies import Strategies
from fusioninfer.cli.devices import BoundPod, Need, Node, against, asked, needs
from fusioninfer.cli.differences import CHANGE, CREATE, DELETE, Difference, Place, copies, difference
from fusioninfer.cli.look import NOT_SERVED, Listed, Missing, listed
from fusioninfer.cli.terminal import utc_now
from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import Kube, Resource
from fusioninfer.reconcile.snapshot import CHILDREN, PODS, READ_AS, SERVICES, Owned, Pod, Service, Snapshot

SAME, DIFFERENT = 0, 1
"""Exit codes, as those of `kubectl diff`; greater ones are errors."""
NODES = Resource("", "v1", "Node", "nodes", namespaced=False)
MARKS = {CREATE: ("+", "green"), CHANGE: ("~", "yellow"), DELETE: ("-", "red")}
MAX_VALUE = 100
"""Characters of a value."""


async def diff(
    kube: Kube, console: Console, raws: Iterable[Manifest], engines: Engines, strategies: Strategies, namespace: str
) -> int:  # fmt: skip
    """Print what would become of each service of a file; the exit code.

    Raises InvalidSpec for what would be refused, Missing, and KubeError.
    """
    code = SAME
    for raw in raws:
        raw["metadata"].setdefault("namespace", namespace)
        desired = desired_objects(parse(raw), engines, strategies)
        found, lines = await compared(kube, raw, desired, engines, strategies)
        for line in lines:
            console.print(line)
        if not found.is_none:
            code = DIFFERENT
    return code


async def compared(
    kube: Kube, raw: Manifest, desired: Desired, engines: Engines, strategies: Strategies
) -> tuple[Difference, list[Text]]:  # fmt: skip
    """What would become of the service `raw`, as a value and in lines."""
    seen = await observed(kube, raw)
    if seen.uid:  # its children name it as their owner
        desired = desired_objects(parse(seen.snapshot.service.raw), engines, strategies)
    found = difference(desired, seen.snapshot, seen.objects, seen.unread, utc_now())
    needed = needs(desired, copies(desired, seen.snapshot))
    return found, [*lines_of(found), *await _devices(kube, needed, (found.namespace, found.name))]


# --- what is asked ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observed:
    """A service as a file has it, among what is there now."""

    snapshot: Snapshot
    objects: Mapping[Place, Manifest]
    """The children whole."""
    unread: Mapping[str, str]
    uid: str
    """Of the service that is there; empty if there is none."""


async def observed(kube: Kube, raw: Manifest) -> Observed:
    """What is there of the service `raw`; all kinds of children side by side. Raises Missing, and KubeError."""
    namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
    label = f"{names.SERVICE_LABEL}={name}"
    live, lists = await asyncio.gather(
        _live(kube, namespace, name),
        asyncio.gather(*(listed(kube, kind, namespace, label) for kind in (PODS, *CHILDREN.values()))),
    )
    pods, *children = lists
    metadata = {"name": name, "namespace": namespace, "generation": 1}
    if live is not None:
        metadata |= {"uid": live.metadata.uid, "generation": live.metadata.generation}
    service = msgspec.json.decode(msgspec.json.encode({"metadata": metadata, "spec": raw.get("spec")}), type=Service)
    snapshot = Snapshot(
        service,
        {
            (one.resource.kind, child.metadata.name): child
            for one in children
            for child in one.read_as(READ_AS.get(one.resource, Owned))
        },
        pods.read_as(Pod),
        frozenset(one.resource.kind for one in children if not one.is_served),
    )
    unread = {one.resource.kind: one.unread for one in lists if one.unread}
    return Observed(snapshot, dict(_whole(children)), unread, live.metadata.uid if live else "")


async def _live(kube: Kube, namespace: str, name: str) -> Service | None:
    try:
        return msgspec.json.decode(await kube.send(requests.get(SERVICES, namespace, name)), type=Service)
    except errors.NotFound as error:
        if error.status.details is None or not error.status.details.name:
            raise Missing(NOT_SERVED) from error
        return None


def _whole(lists: Iterable[Listed]) -> Iterator[tuple[Place, Manifest]]:
    for one in lists:
        for item in one.items:
            manifest: Manifest = msgspec.json.decode(item)
            yield (one.resource.kind, manifest["metadata"]["name"]), manifest


async def _devices(kube: Kube, needed: tuple[Need, ...], key: tuple[str, str]) -> list[Text]:
    """What the nodes have free, if anything is asked of them and they may be looked at."""
    if not needed:
        return []
    nodes, pods = await asyncio.gather(listed(kube, NODES, ""), listed(kube, PODS, ""))
    if unread := [f"{one.resource.plural}: {one.unread}" for one in (nodes, pods) if one.unread]:
        return [
            _line("devices", f"asks for {asked(needed)}; what is free may not be known: {'; '.join(unread)}", "yellow")
        ]
    return [
        _line("devices", words, "red" if "short" in words or "none of them" in words else "default")
        for words in against(needed, nodes.read_as(Node), pods.read_as(BoundPod), key)
    ]


# --- what is shown ------------------------------------------------------------------------------------------------


def lines_of(found: Difference) -> Iterator[Text]:
    """The objects, then what that means for those who use the service."""
    yield Text.assemble((f"{found.namespace}/{found.name}", "bold"), "" if found.steps else "  no change")
    for step in found.steps:
        mark, style = MARKS[step.verb]
        reason = f"  {step.reason}" if step.reason else ""
        yield Text(f"  {mark} {step.verb} {step.kind} {step.name}{reason}", style)
        for change in step.fields:
            yield Text(f"      {change.path}: {_shown(change.before)} → {_shown(change.after)}")
    for restart in found.restarts:
        yield _line("restarts", f"role {restart.role}: {restart.why}", "yellow")
        if restart.interrupts:
            yield _line("interrupts", f"role {restart.role}: {restart.interrupts}", "red")
    for note in found.notes:
        yield _line("note", note, "yellow")


def _line(what: str, words: str, style: str) -> Text:
    return Text(f"  {what}  {words}", style)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
