"""Where a role stands, in a word and a sentence; and what the API server's refusals are called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from fusioninfer.api.types import InferenceServiceStatus
from fusioninfer.kube import errors
from fusioninfer.reconcile.apply import Failure, Outcome
from fusioninfer.reconcile.facts import Facts, RoleFacts
from fusioninfer.reconcile.plan import Plan

Answer = Literal["True", "False", "Unknown"]
Phase = Literal["Pending", "Deploying", "Running", "Failed", "Unknown"]

SCALED_TO_ZERO = "ScaledToZero"
UPDATE_PENDING = "UpdatePending"
RECREATING = "RecreatingWorkload"
NOT_INSTALLED = "NotInstalled"
DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a status is judged by."""

    facts: Facts
    plan: Plan
    outcome: Outcome
    now: datetime
    previous: InferenceServiceStatus | None
    """Only for times and for the last failure, which outlives its pod."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says."""

    answer: Answer
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a role stands."""

    phase: Phase
    reason: str
    message: str


def standing_of(facts: RoleFacts, seen: Seen) -> Standing:
    """Where the role stands; Failed only for what waiting does not mend."""
    failure = failure_of(facts, seen)
    if failure is not None:
        return Standing("Failed", failure.reason, failure.message)
    kind = facts.workload_resource.kind
    if facts.role.name in seen.plan.uninstalled:
        return Standing("Pending", NOT_INSTALLED, uninstalled_words(facts))
    if seen.plan.gang_is_uninstalled and facts.workload is None and facts is not seen.facts.router:
        return Standing("Pending", NOT_INSTALLED, "its pods wait for the kind of their gang, which is not installed")
    if seen.plan.router_lacks and facts is seen.facts.router and facts.workload is None:
        kinds = " and ".join(resource.kind for resource in seen.plan.router_lacks)
        return Standing("Pending", NOT_INSTALLED, f"it waits for {kinds}, which the cluster does not serve")
    if facts.role.name in seen.plan.recreating:
        return Standing("Pending", RECREATING, recreating_words(facts))
    if facts.workload is None:
        return Standing("Pending", "NotCreated", f"{kind} {facts.workload_name} does not exist yet")
    if facts.is_complete:
        return _complete(facts, seen)
    missing = facts.total_pods - len(facts.pods)
    if facts.recreated is not None:
        return Standing("Deploying", facts.recreated.reason, facts.recreated.message)
    if facts.trouble is not None:
        all_bound = facts.bound_pods == len(facts.pods)
        return Standing("Deploying" if all_bound else "Pending", facts.trouble.reason, facts.trouble.message)
    if missing > 0:
        made = f"{kind} {facts.workload_name} has made {len(facts.pods)} of {facts.total_pods} pods"
        return Standing("Deploying" if facts.pods else "Pending", "PodsMissing", made)
    return Standing("Deploying", "RollingOut", rolling_words(facts))


def uninstalled_words(facts: RoleFacts) -> str:
    resource = facts.workload_resource
    return (
        f"copies of {facts.role.nodes_per_replica} nodes need {resource.kind} ({resource.api_version}), which this "
        "cluster does not serve; install it, and they are made by themselves"
    )


def recreating_words(facts: RoleFacts) -> str:
    nodes = facts.role.nodes_per_replica
    if facts.workload is not None and facts.workload.resource is facts.workload_resource:
        return (
            f"none of its pods has a node, as their gang waits: {facts.workload_resource.kind} {facts.workload_name} "
            "is made anew with the present template, since it would wait for each copy to be ready"
        )
    return (
        f"from now on a copy has {nodes} node{'s' if nodes > 1 else ''}: the earlier workload ends first, then "
        f"{facts.workload_resource.kind} {facts.workload_name} takes its name; no copy serves meanwhile"
    )


def _complete(facts: RoleFacts, seen: Seen) -> Standing:
    if not facts.desired:
        return Standing("Running", SCALED_TO_ZERO, "no copy is asked for")
    if facts.role.name in seen.plan.update_pending:
        return Standing("Running", UPDATE_PENDING, PENDING_WORDS)
    return Standing("Running", "Running", f"{facts.ready} of {facts.desired} copies are ready")


PENDING_WORDS = (
    "the pods run the template that an earlier version of FusionInfer made; "
    "the next change of the role brings them up to date"
)


def rolling_words(facts: RoleFacts) -> str:
    return (
        f"{facts.updated} of {facts.desired} copies have the present template, {facts.ready} are ready, "
        f"{len(facts.copies)} exist"
    )


def failure_of(facts: RoleFacts, seen: Seen) -> Verdict | None:
    """Why the role will not become ready by waiting; None if it may."""
    for failure in seen.outcome.failures:
        if failure.name == facts.workload_name and not isinstance(
            failure.error, errors.Unavailable | errors.Unreachable | errors.WebhookDown
        ):
            return words_of(failure)
    if facts.trouble is not None and facts.trouble.is_failure:
        return Verdict("False", facts.trouble.reason, facts.trouble.message)
    if _deadline_has_passed(facts, seen):
        why = f"; {facts.trouble.message}" if facts.trouble else ""
        seconds = facts.role.progress_deadline_seconds
        return Verdict("False", DEADLINE_EXCEEDED, f"role {facts.role.name} has not progressed for {seconds} s{why}")
    return None


def _deadline_has_passed(facts: RoleFacts, seen: Seen) -> bool:
    due = deadline(facts, seen.previous)
    return due is not None and seen.now >= due


def deadline(facts: RoleFacts, previous: InferenceServiceStatus | None) -> datetime | None:
    """When the role will have gone without progress for too long; None if it has nothing left to do.

    Counted from when a count of the role last moved, as Deployment does (`Progressing`'s lastUpdateTime).
    """
    component = previous.components.get(facts.role.name) if previous else None
    if component is None or facts.is_complete:
        return None
    since = datetime.fromisoformat(component.lastUpdateTime)
    moved = (facts.desired, facts.ready, facts.updated) != (
        component.desiredReplicas,
        component.readyReplicas,
        component.updatedReplicas,
    )
    return None if moved else since + timedelta(seconds=facts.role.progress_deadline_seconds)


def words_of(failure: Failure) -> Verdict:
    """A failed step in a word that can be searched for and a sentence that says what to do."""
    error = failure.error
    what = f"{failure.verb} {failure.kind} {failure.name}"
    if not isinstance(error, errors.ApiError):
        return Verdict("False", "APIServerUnreachable", f"{what}: {error}")
    said = error.status.message
    if isinstance(error, errors.Forbidden):
        return Verdict("False", _forbidden(said), f"{what}: {said}")
    if isinstance(error, errors.NotFound):
        return Verdict("False", "NotServed", f"{what}: the API server does not serve this kind, or not here: {said}")
    if isinstance(error, errors.WebhookDown):
        return Verdict("False", "WebhookDown", f"{what}: {said}")
    if isinstance(error, errors.Refused):
        return Verdict("False", "Refused", f"{what}: the API server refuses it: {said}")
    return Verdict("False", "APIServerUnavailable", f"{what}: {error}")


def _forbidden(said: str) -> str:
    """Why a 403 was answered: its text is all that tells quota, ending namespace, policy and missing rights apart."""
    if "exceeded quota" in said:
        return "QuotaExceeded"
    if "because it is being terminated" in said:
        return "NamespaceTerminating"
    return "RBACDenied" if " cannot " in said else "AdmissionDenied"
