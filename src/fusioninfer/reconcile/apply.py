"""Fourth stage: carry out a plan. The only writing of children; what the API server answered comes back as a value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from fusioninfer.api import names
from fusioninfer.kube import errors, requests
from fusioninfer.reconcile import derived_names
from fusioninfer.reconcile.plan import Apply, Delete, NameTaken, Plan
from fusioninfer.reconcile.snapshot import LEADER_WORKER_SETS, READ_AS, Child, Owned


@dataclass(frozen=True, slots=True)
class Failure:
    """One step that the API server did not carry out."""

    verb: str
    kind: str
    name: str
    error: errors.KubeError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan."""

    written: int = 0
    failures: tuple[Failure, ...] = ()
    taken: tuple[NameTaken, ...] = ()
    stale: bool = False
    """Something was not as the cache had it: look again soon, there is nothing to report."""


Note = Callable[[requests.Resource, Child], None]
"""Takes in what the API server answered, so that the cache is never older than our own writes."""


async def carry_out(kube: requests.Kube, plan: Plan, note: Note) -> Outcome:
    """Send the waves one after the other, what is in one side by side; then the deletes.

    What did not go well holds up all that comes after it.
    """
    outcome = Outcome(taken=plan.taken)
    for wave in plan.waves:
        answers = _joined(tuple(await asyncio.gather(*(_apply(kube, step, note) for step in wave))))
        outcome = _joined((outcome, answers))
        if answers.failures or answers.stale or answers.taken:
            return outcome
    if outcome.taken:
        return outcome
    return _joined((outcome, *await asyncio.gather(*(_delete(kube, step) for step in plan.deletes))))


def _joined(outcomes: tuple[Outcome, ...]) -> Outcome:
    return Outcome(
        written=sum(outcome.written for outcome in outcomes),
        failures=tuple(failure for outcome in outcomes for failure in outcome.failures),
        taken=tuple(taken for outcome in outcomes for taken in outcome.taken),
        stale=any(outcome.stale for outcome in outcomes),
    )


async def _apply(kube: requests.Kube, step: Apply, note: Note) -> Outcome:
    request = requests.apply(step.resource, step.manifest, manager=names.MANAGER)
    try:
        if step.creates and step.resource is LEADER_WORKER_SETS:
            holder = await derived_names.holder(kube, step.manifest["metadata"]["namespace"], step.name)
            if holder is not None and holder.is_of_an_lws:  # of that name: ours that is about to go, or a stranger's
                return await _look_again(kube, step, note)
            if holder is not None:
                return _held(holder, step.name)
        note(step.resource, _decoded(step.resource, await kube.send(request)))
    except errors.Conflict:
        return await _look_again(kube, step, note) if step.creates else Outcome(stale=True)
    except errors.KubeError as error:
        return Outcome(failures=(Failure("apply", step.resource.kind, step.name, error),))
    return Outcome(written=1)


async def _look_again(kube: requests.Kube, step: Apply, note: Note) -> Outcome:
    """An object that the cache does not know exists: ours, which the cache has yet to see, or a stranger's."""
    metadata = step.manifest["metadata"]
    try:
        live = _decoded(step.resource, await kube.send(requests.get(step.resource, metadata["namespace"], step.name)))
    except errors.NotFound:
        return Outcome(stale=True)
    except errors.KubeError as error:
        return Outcome(failures=(Failure("get", step.resource.kind, step.name, error),))
    if live.metadata.labels.get(names.SERVICE_LABEL) == metadata["labels"][names.SERVICE_LABEL]:
        note(step.resource, live)
        return Outcome(stale=True)
    taken = NameTaken.by(step.resource.kind, live.metadata, "somebody else: it lacks our labels")
    return Outcome(taken=(taken,))


def _held(holder: derived_names.Holder, lws: str) -> Outcome:
    """An object has a name that the LWS called `lws` would give to its own."""
    taken = NameTaken.by(holder.kind, holder.metadata, f"somebody else, and LeaderWorkerSet {lws} needs that name")
    return Outcome(taken=(taken,))


def _decoded(resource: requests.Resource, body: bytes) -> Child:
    return msgspec.json.decode(body, type=READ_AS.get(resource, Owned))


async def _delete(kube: requests.Kube, step: Delete) -> Outcome:
    try:
        await kube.send(
            requests.delete(step.resource, step.namespace, step.name, uid=step.uid, propagation=step.propagation)
        )
    except errors.NotFound:
        return Outcome()  # gone already, as was wanted
    except errors.Conflict:
        return Outcome(stale=True)
    except errors.KubeError as error:
        return Outcome(failures=(Failure("delete", step.resource.kind, step.name, error),))
    return Outcome(written=1)
