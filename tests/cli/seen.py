"""Services as the command line sees them, with the status that the operator would write."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console, RenderableType

from fusioninfer.api.parse import parse
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.cli.look import Looked
from fusioninfer.cli.view import View, view_of
from fusioninfer.reconcile.apply import Outcome
from fusioninfer.reconcile.facts import facts_of
from fusioninfer.reconcile.phases import Seen
from fusioninfer.reconcile.plan import plan_changes
from fusioninfer.reconcile.snapshot import POD_GROUPS, Service, Snapshot
from fusioninfer.reconcile.status import status_of, status_of_refused
from tests import make

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def looked(
    *roles: Manifest,
    pods: tuple[Manifest, ...] = (),
    missing: tuple[str, ...] = (),
    changed: Mapping[str, Manifest] | None = None,
    unserved: tuple[str, ...] = (),
    unread: Mapping[str, str] | None = None,
    status: bool = True,
    outcome: Outcome | None = None,
    **spec: Any,
) -> Looked:
    """A service whose children stand as applied, but for what is `missing`, and `changed` of a kind."""
    raw = make.raw_service(*roles, **spec)
    children = tuple(
        {**live, **(changed or {}).get(live["kind"], {})}
        for live in map(make.applied, _manifests(raw))
        if live["kind"] not in (*missing, *unserved)
    )
    snapshot = make.a_snapshot(raw, children=children, pods=pods, unserved=unserved)
    if status:
        raw["status"] = msgspec.to_builtins(_status(snapshot, outcome or Outcome()))
    raw["metadata"]["creationTimestamp"] = "2026-11-24T11:00:00Z"
    service = msgspec.json.decode(msgspec.json.encode(raw), type=Service)
    return Looked(service, snapshot.pods, snapshot.children, frozenset(unserved), unread or {})


def _manifests(raw: Manifest) -> tuple[Manifest, ...]:
    try:
        return desired_objects(parse(raw), make.ENGINES, make.STRATEGIES).manifests
    except InvalidSpec:
        return ()


def _status(snapshot: Snapshot, outcome: Outcome) -> Any:
    try:
        desired = desired_objects(parse(snapshot.service.raw), make.ENGINES, make.STRATEGIES)
    except InvalidSpec as refusal:
        return status_of_refused(refusal, snapshot, None, NOON)
    return status_of(Seen(facts_of(desired, snapshot), plan_changes(desired, snapshot), outcome, NOON, None))


def view(*roles: Manifest, **seen: Any) -> View:
    """What is shown of `looked`."""
    return view_of(looked(*roles, **seen))


def a_console() -> Console:
    """A file, as the command line prints into one."""
    return Console(width=1000, highlight=False, color_system=None)


def text(shown: RenderableType) -> list[str]:
    """The lines of what is printed into a file."""
    console = a_console()
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines()]


WAITING_GANG: Manifest = {"status": {"phase": "Inqueue"}}
"""What is changed of a PodGroup that waits."""
GANG_WAITS = {POD_GROUPS.kind: WAITING_GANG}
