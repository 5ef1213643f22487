"""`fusioninfer explain`: why a service is not ready, from the service down to the event, and what to type next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusioninfer.cli.causes import Class, Event, Explanation, culprit, explained, to_blame
from fusioninfer.cli.look import look
from fusioninfer.cli.status import SHOWN
from fusioninfer.cli.target import Target
from fusioninfer.cli.terminal import put, utc_now
from fusioninfer.cli.view import View, view_of, written
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Kube, Request
from fusioninfer.reconcile.snapshot import EVENTS

MOST = 200
"""Events of one object that are looked through."""


async def explain(kube: Kube, console: Console, there: Target, name: str) -> int:
    """Print the explanation; its class. Raises Missing, and KubeError."""
    looked = await look(kube, there.namespace, name, SHOWN)
    view = view_of(looked)
    told = await asyncio.gather(*(events_of(kube, there.namespace, about) for about in _involved(view)))
    unread = [complaint for _, complaint in told if complaint]
    events = [event for found, _ in told for event in found]
    explanation = explained(view, written(looked.service), events, there.flags, utc_now())
    put(shown(explanation, (*view.unread, *dict.fromkeys(unread))), console)
    return explanation.exit_code


def _involved(view: View) -> Iterable[str]:
    """The objects whose events may tell why: the deepest first."""
    if view.is_ready:
        return ()
    pod, role = culprit(view), to_blame(view)
    workload = role.workload.partition(" ")[2] if role else ""
    gang = view.gang.name if view.gang else ""
    return dict.fromkeys(name for name in (pod.name if pod else "", workload, gang, view.name) if name)


async def events_of(kube: Kube, namespace: str, name: str) -> tuple[tuple[Event, ...], str]:
    """What was told of all objects called `name`; or why that may not be read."""
    query = {"fieldSelector": f"involvedObject.name={name}", "limit": str(MOST)}
    try:
        body = await kube.send(Request("GET", EVENTS.path(namespace), query))
    except errors.Forbidden as refusal:
        return (), f"{EVENTS.kind}: {refusal.status.message}"
    return msgspec.json.decode(body, type=EventList).items, ""


class EventList(msgspec.Struct, frozen=True):
    """A list of events."""

    items: tuple[Event, ...] = ()


def shown(explanation: Explanation, unread: Iterable[str]) -> RenderableType:
    """The cause first, the next step last."""
    style = {Class.READY: "green", Class.PROGRESSING: "yellow"}.get(explanation.exit_code, "red")
    chain = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for link in explanation.chain:
        chain.add_row(Text(link.what, "dim"), Text(link.name, "bold"), Text(link.words))
    hidden = [Text(f"not to be seen: {words}", "yellow") for words in unread]
    return Group(
        Text(explanation.cause, style), Text(), chain, *hidden, Text(), Text(f"next: {explanation.next_step.strip()}")
    )
