"""A view as people read it: one service as a tree, many as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from fusioninfer.api.types import Condition
from fusioninfer.cli.terminal import age
from fusioninfer.cli.view import NOT_SEEN, WISHED, Pod, Role, Row, View, copies, why, words_of

GOOD, BAD, WAITING, QUIET = "green", "red", "yellow", "dim"
PHASES = {"Running": GOOD, "Failed": BAD}
"""Colours; all other phases wait."""
MOST_READY_PODS = 8
"""Of a role or a copy, unless the output is wide: more are counted."""


def tree(view: View, now: datetime, *, wide: bool) -> RenderableType:
    """One service: its roles with their pods, its gang, the hops of its router, and what is not as one wishes."""
    root = Tree(_heading(view), guide_style=QUIET)
    for role in view.roles:
        _role(root.add(_role_line(role)), role, now, wide=wide)
    if view.gang is not None:
        gang = view.gang
        line = _line("gang ", (gang.kind, "bold"), f" {gang.name}  ", (gang.phase, _gang_style(gang.phase)))
        root.add(line.append(f"  asks for {gang.asks} in queue {gang.queue}"))
    if view.hops:
        hops = root.add(_line("way in", *(f"  {address.url}" for address in view.addresses)))
        for hop in view.hops:
            style = GOOD if hop.isOpen else BAD
            hops.add(_line((f"{hop.kind} {hop.name}", "bold"), "  ", (words_of(hop), style)))
    if view.status is not None:
        _conditions(root, view.status.conditions if wide else view.unwished)
    return Group(root, *(Text(f"not to be seen: {words}", WAITING) for words in view.unread))


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts)


def _heading(view: View) -> Text:
    ready = view.condition("Ready")
    line = _line((view.name, "bold"), "  ")
    if view.status is None or ready is None:
        return line.append(NOT_SEEN, WAITING)
    if view.is_seen:
        style = GOOD if ready.status == "True" else BAD
        line.append("Ready" if ready.status == "True" else f"not ready: {ready.reason}", style)
    else:
        seen = view.status.observedGeneration
        line.append(f"the status is of generation {seen}, the spec is at {view.generation}", WAITING)
    return line.append(f"  {view.url}")


# --- roles --------------------------------------------------------------------------------------------------------


def _role_line(role: Role) -> Text:
    line = _line((role.name, "bold"), f"  {role.componentType}" if role.componentType else "", "  ")
    told = role.status
    if told is None:
        return line.append("no status yet", WAITING)
    line.append(told.phase, PHASES.get(told.phase, WAITING))
    nodes = f" of {told.nodesPerReplica} nodes" if told.nodesPerReplica > 1 else ""
    line.append(f"  {told.readyReplicas}/{told.desiredReplicas} copies{nodes} ready")
    if told.updatedReplicas != told.desiredReplicas:
        line.append(f", {told.updatedReplicas} updated")
    if not role.is_whole or told.reason not in ("Running", "ScaledToZero"):
        line.append(f"  {told.reason}: {told.message}", BAD if told.phase == "Failed" else WAITING)
    return line


def _role(branch: Tree, role: Role, now: datetime, *, wide: bool) -> None:
    failure = role.last_failure
    if failure is not None and (wide or not role.is_whole):
        words = f"last failure {age(failure.time, now)} ago: pod {failure.pod}, container {failure.container}: "
        words += f"exit code {failure.exitCode} ({failure.reason}), {failure.count} restarts"
        branch.add(Text(words + (f"; its last words: {failure.message}" if failure.message else ""), WAITING))
    place = branch.add(_line((role.workload, "default"))) if role.workload else branch
    if role.status is not None and role.status.nodesPerReplica > 1:
        for index, pods in copies(role):
            ready = sum(pod.ready for pod in pods)
            _pods(place.add(f"copy {index}  {ready}/{role.status.nodesPerReplica} pods ready"), pods, now, wide=wide)
    else:
        _pods(place, role.pods, now, wide=wide)


def _pods(branch: Tree, pods: Sequence[Pod], now: datetime, *, wide: bool) -> None:
    ready = [pod for pod in pods if pod.ready]
    shown = ready if wide or len(ready) <= MOST_READY_PODS else ready[: MOST_READY_PODS - 1]
    for pod in pods:
        if not pod.ready or pod in shown:
            branch.add(_pod(pod, now, wide=wide))
    if len(shown) < len(ready):
        branch.add(Text(f"and {len(ready) - len(shown)} more that are ready; -o wide shows them", QUIET))


def _pod(pod: Pod, now: datetime, *, wide: bool) -> Text:
    line = _line(f"pod {pod.name}  ")
    line.append("ready" if pod.ready else why(pod), GOOD if pod.ready else WAITING)
    if wide:
        where = f"on {pod.node}" if pod.node else "without a node"
        line.append(f"  {where}, {pod.restarts} restarts, {age(pod.created, now)} old", QUIET)
    elif pod.restarts and "restarts" not in pod.message:
        line.append(f"  {pod.restarts} restarts", WAITING)
    return line


def _gang_style(phase: str) -> str:
    return GOOD if phase in ("Running", "Completed") else WAITING


# --- conditions ---------------------------------------------------------------------------------------------------


def _conditions(root: Tree, conditions: Sequence[Condition]) -> None:
    """Those that say the same are one."""
    said: dict[tuple[str, str], list[Condition]] = {}
    for condition in conditions:
        said.setdefault((condition.reason, condition.message), []).append(condition)
    branch = root.add("conditions") if said else root
    for (reason, message), same in said.items():
        line = Text(", ").join(_answer(condition) for condition in same)
        branch.add(line.append(f"  {reason}: {message}", "default"))


def _answer(condition: Condition) -> Text:
    wished = condition.status == WISHED.get(condition.type, "True")
    style = GOOD if wished else WAITING if condition.type == "Progressing" or condition.status == "Unknown" else BAD
    return Text(f"{condition.type}={condition.status}", style)


# --- many services ------------------------------------------------------------------------------------------------


def table(rows: Iterable[Row], now: datetime, *, namespaces: bool, wide: bool) -> Table:
    """Many services, a line each."""
    found = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    for title in ("NAMESPACE",) * namespaces + ("NAME", "READY", "REASON", "ROLES", "URL", "AGE") + ("MESSAGE",) * wide:
        found.add_column(title, no_wrap=title != "MESSAGE", header_style="bold")
    for row in rows:
        ready = Text(row.ready, {"True": GOOD, "False": BAD}.get(row.ready, WAITING))
        roles = ", ".join(f"{name} {count}" for name, count in row.roles.items())
        cells = (row.name, ready, row.reason, roles, row.url, age(row.created, now))
        found.add_row(*(row.namespace,) * namespaces, *cells, *(Text(row.message),) * wide)
    return found
