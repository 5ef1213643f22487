"""`fusioninfer status`: one service as a table, from its own status alone."""

from __future__ import annotations

from msgspec import UNSET
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusioninfer.api.types import InferenceServiceStatus

COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
GOOD_WHEN_FALSE = ("Degraded", "Stalled", "Progressing")


def table(name: str, generation: int, status: InferenceServiceStatus | None) -> RenderableType:
    """The status of service `name`, whose spec has `generation`."""
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
        answer = condition.status
        if condition.type in GOOD_WHEN_FALSE:
            answer = {"True": "Unknown", "False": "True"}.get(answer, "Unknown")
        table.add_row(
            condition.type, Text(condition.status, COLOURS[answer]), condition.reason, Text(condition.message)
        )
    return table
