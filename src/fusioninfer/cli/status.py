"""`fusioninfer status`: one service as a table, from its own status alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import msgspec
from msgspec import UNSET
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fusioninfer.api.types import InferenceServiceStatus
from fusioninfer.kube import connection, errors, requests
from fusioninfer.kube.client import Client
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.reconcile.snapshot import SERVICES

COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
GOOD_WHEN_FALSE = ("Degraded", "Stalled", "Progressing")
"""Conditions of which True is no good news."""


LOOK_SECONDS = 0.5

READY, NOT_READY, NO_ANSWER = 0, 1, 2
"""Exit codes."""


class Shown(msgspec.Struct, frozen=True):
    """An InferenceService as it is shown."""

    metadata: ObjectMeta
    status: InferenceServiceStatus | None = None

    @property
    def is_ready(self) -> bool:
        """This generation of it is Ready."""
        return (
            self.status is not None
            and self.status.observedGeneration == self.metadata.generation
            and any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
        )


@dataclass(frozen=True, slots=True)
class Where:
    """Which service, in which cluster."""

    name: str
    namespace: str
    connection: connection.Connection


async def show(name: str, namespace: str, kubeconfig: str, watch: bool, until_ready: bool, seconds: float) -> int:
    """Print the status of a service once, or at every change until it is Ready, or for `seconds`.

    Returns the exit code: with `until_ready` whether it is Ready, else 0; NO_ANSWER if there is nothing to show.
    """
    console = Console()
    try:
        there = connection.from_kubeconfig(kubeconfig) if kubeconfig else connection.default_connection()
        where = Where(name, namespace or there.namespace, there)
        async with Client(there) as client:
            shown = await _look(client, where)
            if not watch:
                console.print(table(shown))
            else:
                shown = await _follow(console, client, where, until_ready, seconds)
    except (connection.Misconfigured, errors.KubeError) as error:
        Console(stderr=True).print(f"{namespace or 'default'}/{name}: {error}", style="red", markup=False)
        return NO_ANSWER
    return READY if shown.is_ready or not until_ready else NOT_READY


async def _look(client: Client, where: Where) -> Shown:
    body = await client.send(requests.get(SERVICES, where.namespace, where.name))
    return msgspec.json.decode(body, type=Shown)


async def _follow(console: Console, client: Client, where: Where, until_ready: bool, seconds: float) -> Shown:
    end = time.monotonic() + (seconds or float("inf"))
    shown = await _look(client, where)
    with Live(table(shown), console=console, auto_refresh=False) as live:
        while not (until_ready and shown.is_ready) and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
            shown = await _look(client, where)
            live.update(table(shown), refresh=True)
    return shown


def table(shown: Shown) -> RenderableType:
    """The whole status of a service."""
    name, generation, status = shown.metadata.name, shown.metadata.generation, shown.status
    if status is None:
        return Text(f"{name}: no status yet; does the operator run, and does it watch this namespace?", "yellow")
    stale = status.observedGeneration != generation
    note = f"   (of generation {status.observedGeneration}, the spec is at {generation})" if stale else ""
    heading = Text(f"{name}   {status.url if status.url is not UNSET else ''}{note}", "bold")
    return Group(heading, _components(status), _conditions(status))


def _components(status: InferenceServiceStatus) -> Table:
    table = Table("ROLE", "PHASE", "READY", "UPDATED", "PODS", "MESSAGE", box=None, padding=(0, 2, 0, 0))
    for name, part in status.components.items():
        table.add_row(
            name,
            part.phase,
            f"{part.readyReplicas}/{part.desiredReplicas}",
            f"{part.updatedReplicas}",
            f"{part.readyPods}/{part.totalPods}",
            Text(part.message),
        )
    return table


def _conditions(status: InferenceServiceStatus) -> Table:
    table = Table("CONDITION", "STATUS", "REASON", "MESSAGE", box=None, padding=(0, 2, 0, 0))
    for condition in status.conditions:
        style = COLOURS[condition.status] if condition.type not in GOOD_WHEN_FALSE else "default"
        table.add_row(condition.type, Text(condition.status, style), condition.reason, Text(condition.message))
    return table
