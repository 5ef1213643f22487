"""The stages in order: observe → parse → build → plan → apply → status. Nothing else happens here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.api.types import API_VERSION, KIND, InferenceServiceStatus
from fusioninfer.build.desired import desired_objects
from fusioninfer.build.engines import Engines
from fusioninfer.build.router.strategies import Strategies
from fusioninfer.kube import errors, requests
from fusioninfer.reconcile.apply import Outcome, carry_out
from fusioninfer.reconcile.events import events_of
from fusioninfer.reconcile.facts import facts_of
from fusioninfer.reconcile.observe import Caches, observe
from fusioninfer.reconcile.phases import Seen, deadline
from fusioninfer.reconcile.plan import Plan, plan_changes
from fusioninfer.reconcile.snapshot import EVENTS, SERVICES, Key, Service, Snapshot
from fusioninfer.reconcile.status import patience, status_of, status_of_refused

log = structlog.get_logger(__name__)

LOOK_AGAIN_SECONDS = 5.0
"""For what may change without any event reaching us: quotas, rights, webhooks, names that others hold."""
OF_OTHERS = (errors.Forbidden, errors.NotFound, errors.WebhookDown)
SAME_EVENT_SECONDS = 300.0
"""What flaps is told once in so long."""


class Incomplete(Exception):
    """The turn could not be ended now: try again soon. `retry_after_seconds` is what the API server asked for."""

    def __init__(self, what: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(what)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Result:
    """When to look again though nothing may have happened; None: when something does."""

    retry_after_seconds: float | None = None


@dataclass(slots=True)
class Written:
    """When the status of one service was last written, and when a change of it was first noticed; monotonic seconds."""

    at: float | None = None
    noticed: float | None = None
    told: dict[str, float] = field(default_factory=dict)
    """When each of its events, by name, was last told."""


@dataclass(slots=True)
class World:
    """What a reconcile works with."""

    kube: requests.Kube
    caches: Caches
    engines: Engines
    strategies: Strategies
    monotonic: Callable[[], float]
    others_wait: Callable[[], bool] = lambda: False
    """Whether other services are due and not yet worked on."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    written: dict[Key, Written] = field(default_factory=dict)
    """Holds back writes of a status, and nothing else: losing it costs at most one early write."""


async def reconcile(world: World, key: Key) -> Result:
    """Bring the cluster one step closer to what the service at `key` asks for, and say what is so."""
    snapshot = observe(world.caches, key)
    if snapshot is None or snapshot.service.metadata.deletionTimestamp is not None:
        world.written.pop(key, None)  # owner references let the garbage collector finish
        return Result()
    previous = _previous(snapshot)
    try:
        service = parse(snapshot.service.raw)
        desired = desired_objects(service, world.engines, world.strategies)
    except InvalidSpec as refusal:  # what runs keeps running
        refused = status_of_refused(refusal, snapshot, previous, world.now())
        return await _report(world, snapshot, previous, refused)
    plan = plan_changes(desired, snapshot)
    outcome = Outcome(taken=plan.taken) if service.paused else await _carry_out(world, key, plan)
    if outcome.stale:
        raise Incomplete("the cache was behind what the API server holds")
    now_there = observe(world.caches, key)  # the caches hold what the API server answered to our writes
    if now_there is None:
        return Result()
    if outcome.written and world.others_wait():
        return Result(0.0)  # in a burst the children of all come first, and the words about them after
    seen = Seen(facts_of(desired, now_there), plan, outcome, world.now(), previous)
    status = status_of(seen)
    reported = await _report(world, snapshot, previous, status)
    _raise_for(outcome)
    others = LOOK_AGAIN_SECONDS if _needs_others(outcome) else None
    return _soonest(reported.retry_after_seconds, _deadlines(seen, status), others)


async def _carry_out(world: World, key: Key, plan: Plan) -> Outcome:
    for apply in plan.applies:
        log.info("apply", service=str(key), kind=apply.resource.kind, name=apply.name, reason=apply.reason)
    for delete in plan.deletes:
        log.info("delete", service=str(key), kind=delete.resource.kind, name=delete.name, reason=delete.reason)
    outcome = await carry_out(world.kube, plan, world.caches.note)
    for failure in outcome.failures:
        log.warning(
            "failed",
            service=str(key),
            verb=failure.verb,
            kind=failure.kind,
            name=failure.name,
            error=str(failure.error),
        )
    return outcome


def _previous(snapshot: Snapshot) -> InferenceServiceStatus | None:
    try:
        return msgspec.json.decode(snapshot.service.status, type=InferenceServiceStatus)
    except msgspec.ValidationError:  # never written, or by a version that knew other fields
        return None


async def _report(
    world: World, snapshot: Snapshot, previous: InferenceServiceStatus | None, status: InferenceServiceStatus
) -> Result:
    """Write the status if it changed and its turn has come; else say when it will have."""
    written = world.written.setdefault(snapshot.key, Written())
    wait = patience(previous, status)
    if wait is None:
        written.noticed = None
        return Result()
    now = world.monotonic()
    written.noticed = now if written.noticed is None else written.noticed
    due = written.noticed + wait.since_noticed
    if written.at is not None:
        due = max(due, written.at + wait.since_written)
    if now < due:
        return Result(due - now)
    await _write(world, snapshot, status)
    written.at, written.noticed = world.monotonic(), None
    await _tell(world, written, events_of(snapshot.service.metadata, previous, status, world.now()))
    return Result()


async def _write(world: World, snapshot: Snapshot, status: InferenceServiceStatus) -> None:
    """Write the status onto the very version of the service that it speaks of.

    By resourceVersion: on the status of a custom resource the API server does not look at the uid (1.36.3), and the
    words about a service that is gone would land on a new one of its name. Raises Incomplete if it has changed.
    """
    metadata = snapshot.service.metadata
    guard = {"uid": metadata.uid, "resourceVersion": metadata.resourceVersion}
    manifest: Manifest = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": metadata.name, "namespace": metadata.namespace, **guard},
        "status": status,
    }
    request = requests.apply(SERVICES, manifest, manager=names.STATUS_MANAGER, subresource="status")
    try:
        world.caches.services.note(msgspec.json.decode(await world.kube.send(request), type=Service))
    except errors.NotFound:  # deleted meanwhile: an event says so
        log.info("status not written: the service is gone", service=str(snapshot.key))
    except errors.Conflict as conflict:
        raise Incomplete("the service has changed since it was looked at") from conflict


async def _tell(world: World, written: Written, events: Iterable[Manifest]) -> None:
    """Events are told if they can be, and the same one not too often; nothing depends on them."""

    async def tell(event: Manifest) -> None:
        name, now = event["metadata"]["name"], world.monotonic()
        if now - written.told.get(name, -SAME_EVENT_SECONDS) < SAME_EVENT_SECONDS:
            return
        written.told[name] = now
        try:
            await world.kube.send(requests.apply(EVENTS, event, manager=names.MANAGER))
        except errors.KubeError as error:
            log.warning("event not told", name=name, error=str(error))

    await asyncio.gather(*(tell(event) for event in events))


def _raise_for(outcome: Outcome) -> None:
    """Raise Incomplete if the API server may take the same write later: the queue backs off then."""
    for failure in outcome.failures:
        error = failure.error
        if isinstance(error, errors.Unavailable):
            raise Incomplete(str(error), error.retry_after_seconds)
        if isinstance(error, errors.Unreachable):
            raise Incomplete(str(error))


def _needs_others(outcome: Outcome) -> bool:
    """Something waits for what no event tells us of."""
    return bool(outcome.taken) or any(isinstance(failure.error, OF_OTHERS) for failure in outcome.failures)


def _deadlines(seen: Seen, status: InferenceServiceStatus) -> float | None:
    """Seconds until the first role will have gone too long without progress."""
    due = [moment for facts in seen.facts.all_roles if (moment := deadline(facts, status)) and moment > seen.now]
    return min((moment - seen.now) / timedelta(seconds=1) for moment in due) if due else None


def _soonest(*seconds: float | None) -> Result:
    given = [value for value in seconds if value is not None]
    return Result(min(given) if given else None)
