"""What would become of a service if a file were applied: by the very plan that the operator makes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, EngineObjects, RoleObjects
from fusioninfer.cli.fields import Change, changes
from fusioninfer.reconcile import conditions, ownership
from fusioninfer.reconcile.apply import Outcome
from fusioninfer.reconcile.conditions import NOBODY_ANSWERS, is_some
from fusioninfer.reconcile.facts import RoleFacts, copies_wanted, facts_of, workload_of
from fusioninfer.reconcile.phases import Seen, recreating_words
from fusioninfer.reconcile.plan import Apply, Plan, plan_changes
from fusioninfer.reconcile.snapshot import Child, Snapshot

CREATE, CHANGE, DELETE = "create", "change", "delete"
BOOKKEEPING = (names.APPLIED, names.ROLE_INPUT, names.TEMPLATE)
"""Annotations in which nobody reads."""
_TEMPLATES = ("spec.template.", "spec.leaderWorkerTemplate.")

Place = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True, slots=True)
class Step:
    """What would be done to one object."""

    verb: str
    kind: str
    name: str
    reason: str = ""
    fields: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """A role whose pods would be replaced."""

    role: str
    why: str
    interrupts: str = ""
    """Why nothing is answered meanwhile; empty if something is."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What would become of one service."""

    namespace: str
    name: str
    steps: tuple[Step, ...]
    restarts: tuple[Restart, ...]
    notes: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        return not self.steps


def difference(
    desired: Desired, snapshot: Snapshot, objects: Mapping[Place, Manifest], unread: Mapping[str, str], now: datetime
) -> Difference:
    """From what is in `snapshot`, whose service is as the file has it, to what is `desired`.

    `objects` are the children whole; of kinds in `unread`, with the reason, nothing is known.
    """
    plan = plan_changes(desired, snapshot)
    seen = Seen(facts_of(desired, snapshot), plan, Outcome(), now, None)
    steps = [step for step in _steps(plan, desired, snapshot, objects) if step.kind not in unread]
    return Difference(
        snapshot.key.namespace,
        snapshot.key.name,
        tuple(steps),
        tuple(_restarts(desired, snapshot, seen, steps)),
        (*_notes(seen), *(f"{kind}: {why}; what would become of it is not known" for kind, why in unread.items())),
    )


# --- objects ------------------------------------------------------------------------------------------------------


def _steps(plan: Plan, desired: Desired, snapshot: Snapshot, objects: Mapping[Place, Manifest]) -> Iterator[Step]:
    for apply in plan.applies:
        place = (apply.resource.kind, apply.name)
        live = snapshot.children.get(place)
        if live is None:
            yield Step(CREATE, *place)
        elif fields := tuple(_fields(apply, live, objects[place])):
            yield Step(CHANGE, *place, fields=fields)
    yield from (Step(DELETE, one.resource.kind, one.name, one.reason) for one in plan.deletes)
    for own in (*desired.roles, *(() if desired.router is None else (desired.router,))):
        if own.role.name in plan.recreating:
            yield Step(CREATE, own.workload["kind"], own.workload["metadata"]["name"], "once the earlier one is gone")


def _fields(apply: Apply, live: Child, whole: Manifest) -> Iterator[Change]:
    held = ownership.held_outline(whole, ownership.held_by(live.metadata.managedFields, names.MANAGER))
    return changes(_compared(apply.manifest), _compared(whole), _compared(held))


def _compared(manifest: Manifest) -> Manifest:
    """What of an object is looked at: all but what only the server, or only we, look at."""
    metadata = manifest.get("metadata", {})
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key not in BOOKKEEPING}
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {"metadata": {"labels": metadata.get("labels", {}), "annotations": annotations}, **rest}


# --- pods ---------------------------------------------------------------------------------------------------------


def _restarts(desired: Desired, snapshot: Snapshot, seen: Seen, steps: Iterable[Step]) -> Iterator[Restart]:
    changed = {(step.kind, step.name): step for step in steps if step.verb == CHANGE}
    for facts, own in zip(seen.facts.all_roles, _all(desired), strict=True):
        if facts.role.name in seen.plan.recreating:
            yield Restart(facts.role.name, recreating_words(facts), _interrupts_anew(own, seen))
            continue
        step = changed.get((own.workload["kind"], facts.workload_name))
        paths = [change.path for change in (step.fields if step else ()) if change.path.startswith(_TEMPLATES)]
        if facts.copies and paths:
            partition = facts.role.rolling_update.partition
            most = f" (copies {partition} and up)" if partition else ""
            yield Restart(facts.role.name, f"{_listed(paths)} changes{most}", _interrupts(facts, own, seen))


def _all(desired: Desired) -> tuple[RoleObjects, ...]:
    """As in Facts.all_roles."""
    return (*desired.roles, *(() if desired.router is None else (desired.router,)))


def _listed(paths: Iterable[str]) -> str:
    """The fields of a template, without where that is."""
    short = dict.fromkeys(path.removeprefix("spec.").removeprefix("leaderWorkerTemplate.") for path in paths)
    first = list(short)[:4]
    return ", ".join(first) + (f" and {len(short) - len(first)} more" if len(short) > len(first) else "")


def _interrupts(facts: RoleFacts, own: RoleObjects, seen: Seen) -> str:
    entries = seen.facts.entry_roles
    alone = sum(one.desired for one in entries) == 1 and not is_some(facts.role.rolling_update.max_surge)
    return NOBODY_ANSWERS if isinstance(own, EngineObjects) and facts in entries and alone else ""


def _interrupts_anew(own: RoleObjects, seen: Seen) -> str:
    others = [facts for facts in seen.facts.entry_roles if facts.role != own.role and facts.ready]
    is_entry = any(facts.role == own.role for facts in seen.facts.entry_roles)
    return "nothing is answered from the end of the earlier workload until the next one is ready" if (
        is_entry and not others
    ) else ""  # fmt: skip


# --- words --------------------------------------------------------------------------------------------------------

_RULES = (
    conditions.name_is_taken,
    conditions.gang_is_not_installed,
    conditions.router_is_not_installed,
    conditions.a_kind_is_not_installed,
    conditions.a_change_is_held,
    conditions.a_change_begins,
    conditions.an_update_is_pending,
)
"""What the status would say of such a plan."""


def _notes(seen: Seen) -> Iterator[str]:
    if seen.facts.service.paused:
        yield "spec.paused is true: nothing of it is written before it is false"
    said = (verdict for rule in _RULES if (verdict := rule(seen)) is not None)
    yield from dict.fromkeys(f"{verdict.reason}: {verdict.message}" for verdict in said)
    if seen.plan.router_is_bypassed:
        yield "clients are led to the router once it answers"
    yield from (f"role {facts.role.name}: {warning}" for facts in seen.facts.all_roles for warning in facts.warnings)


def copies(desired: Desired, snapshot: Snapshot) -> dict[str, int]:
    """How many copies each engine role would have."""
    return {own.role.name: copies_wanted(own.role, workload_of(own, snapshot)) for own in desired.roles}
