"""Fifth stage: what is so. Pure.

Nothing in a status moves by itself: times change only when what they stand beside changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import UNSET, UnsetType, structs

from fusioninfer.api import names
from fusioninfer.api.service import InvalidSpec
from fusioninfer.api.types import Address, Component, Condition, InferenceServiceStatus, LastFailure, WorkloadReference
from fusioninfer.reconcile.conditions import CONDITIONS, STALLED, first
from fusioninfer.reconcile.facts import RoleFacts
from fusioninfer.reconcile.phases import Seen, Verdict, standing_of
from fusioninfer.reconcile.snapshot import Snapshot


def status_of(seen: Seen) -> InferenceServiceStatus:
    """The whole status of a service whose spec was accepted by `parse`."""
    service = seen.facts.service
    components = {facts.role.name: _component(facts, seen) for facts in seen.facts.all_roles}
    verdicts = {kind: first(rules, seen) for kind, rules in CONDITIONS.items()}
    if (stalled := first(STALLED, seen)) is not None:
        verdicts["Stalled"] = stalled
    url = names.url(service.name, service.namespace)
    return InferenceServiceStatus(
        observedGeneration=service.generation,
        conditions=_conditions(verdicts, service.generation, seen.previous, seen.now),
        components=components,
        url=url,
        addresses=(Address("cluster", url), *seen.facts.addresses),
    )


def status_of_refused(
    refusal: InvalidSpec, snapshot: Snapshot, previous: InferenceServiceStatus | None, now: datetime
) -> InferenceServiceStatus:
    """The status of a service whose spec cannot be served. What runs keeps running; its counts stay as they were."""
    generation = snapshot.service.metadata.generation
    refused = Verdict("False", refusal.reason, str(refusal))
    serving = sum(pod.ready for pod in snapshot.pods if pod.metadata.labels.get(names.SERVING_LABEL) == "true")
    still = (
        Verdict("True", "EarlierSpecServes", f"{serving} copies of an earlier spec go on answering")
        if serving
        else Verdict("False", refusal.reason, "nothing was started, since the spec was refused")
    )
    unknown = Verdict("Unknown", refusal.reason, "the spec was refused")
    verdicts: dict[str, Verdict | None] = dict.fromkeys(CONDITIONS, unknown)
    verdicts |= {"Accepted": refused, "Ready": refused, "Available": still}
    verdicts |= {"Progressing": Verdict("False", refusal.reason, "nothing is changed until the spec is corrected")}
    verdicts |= {"Stalled": Verdict("True", refusal.reason, str(refusal))}
    kept = previous or InferenceServiceStatus(0, (), {})
    conditions = _conditions(verdicts, generation, previous, now)
    return structs.replace(kept, observedGeneration=generation, conditions=conditions)


def _conditions(
    verdicts: dict[str, Verdict | None], generation: int, previous: InferenceServiceStatus | None, now: datetime
) -> tuple[Condition, ...]:  # fmt: skip
    before = {condition.type: condition for condition in previous.conditions} if previous else {}
    return tuple(
        Condition(
            type=kind,
            status=verdict.answer,
            reason=verdict.reason,
            message=verdict.message,
            lastTransitionTime=before[kind].lastTransitionTime
            if kind in before and before[kind].status == verdict.answer
            else timestamp(now),
            observedGeneration=generation,
        )
        for kind, verdict in verdicts.items()
        if verdict is not None
    )


def timestamp(moment: datetime) -> str:
    """`moment` as Kubernetes writes times: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- components ---


def _component(facts: RoleFacts, seen: Seen) -> Component:
    standing, resource = standing_of(facts, seen), facts.workload_resource
    previous = _previous(facts, seen)
    component = Component(
        desiredReplicas=facts.desired,
        readyReplicas=facts.ready,
        updatedReplicas=facts.updated,
        nodesPerReplica=facts.role.nodes_per_replica,
        totalPods=facts.total_pods,
        readyPods=facts.ready_pods,
        phase=standing.phase,
        reason=standing.reason,
        message=standing.message,
        lastUpdateTime=timestamp(seen.now),
        workload=WorkloadReference(resource.api_version, resource.kind, facts.workload_name),
        selector=f"{names.SERVICE_LABEL}={seen.facts.service.name},{names.ROLE_LABEL}={facts.role.name}",
        lastFailure=_latest(facts.failure, previous.lastFailure if previous else UNSET),
    )
    if previous and _counts(previous) == _counts(component):
        return structs.replace(component, lastUpdateTime=previous.lastUpdateTime)
    return component


def _latest(seen: LastFailure | None, known: LastFailure | UnsetType) -> LastFailure | UnsetType:
    """The later one: what is known may be of a pod that is gone, what is seen of one that crashed long ago."""
    if seen is None:
        return known
    if isinstance(known, UnsetType) or seen.time > known.time:
        return seen
    return seen if (seen.time, seen.pod, seen.container) == (known.time, known.pod, known.container) else known


def _previous(facts: RoleFacts, seen: Seen) -> Component | None:
    return seen.previous.components.get(facts.role.name) if seen.previous else None


def _counts(component: Component) -> tuple[object, ...]:
    return (
        component.desiredReplicas,
        component.readyReplicas,
        component.updatedReplicas,
        component.readyPods,
        component.phase,
    )


# --- when to write ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a change of the status may wait to be written, in seconds; both must have passed."""

    since_noticed: float = 0.0
    since_written: float = 0.0


AT_ONCE = Patience()
JOINED = Patience(since_noticed=1.0)
"""For Available turning True: mostly Ready follows within a moment, and both are one write then."""
REASONS = Patience(since_written=2.0)
COUNTS = Patience(since_written=10.0)


def patience(previous: InferenceServiceStatus | None, status: InferenceServiceStatus) -> Patience | None:
    """How long the change from `previous` to `status` may wait; None if there is no change."""
    if previous == status:
        return None
    if previous is None or previous.observedGeneration != status.observedGeneration:
        return AT_ONCE
    before, after = _answers(previous), _answers(status)
    turned = {kind for kind in ("Accepted", "Available", "Ready") if before.get(kind) != after.get(kind)}
    if turned == {"Available"} and after["Available"] == "True":
        return JOINED
    if turned or _failed(status) - _failed(previous) or _crashes(status) != _crashes(previous):
        return AT_ONCE
    return REASONS if _reasons(previous) != _reasons(status) else COUNTS


def _answers(status: InferenceServiceStatus) -> dict[str, str]:
    return {condition.type: condition.status for condition in status.conditions}


def _failed(status: InferenceServiceStatus) -> set[str]:
    return {name for name, component in status.components.items() if component.phase == "Failed"}


def _crashes(status: InferenceServiceStatus) -> list[object]:
    """What must be written before its pod is gone: a copy of several nodes is made anew within a moment."""
    return [part.lastFailure.time if part.lastFailure else None for part in status.components.values()]


def _reasons(status: InferenceServiceStatus) -> list[tuple[str, ...]]:
    conditions = [(condition.type, condition.status, condition.reason) for condition in status.conditions]
    return conditions + [(name, part.phase, part.reason) for name, part in status.components.items()]
