"""What is told as Kubernetes events: Ready turning, refusals, conflicts and failures. None else, none at rest."""

from __future__ import annotations

from datetime import datetime

from fusioninfer.api import hashes, types
from fusioninfer.api.service import Manifest
from fusioninfer.api.types import Condition, InferenceServiceStatus
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.reconcile.status import timestamp

TOLD = ("Accepted", "Ready", "Stalled")
"""Conditions whose turning is told."""


def events_of(
    service: ObjectMeta, previous: InferenceServiceStatus | None, status: InferenceServiceStatus, now: datetime
) -> tuple[Manifest, ...]:  # fmt: skip
    """The events of the step from `previous` to `status`, one per reason."""
    before = {condition.type: condition for condition in previous.conditions} if previous else {}
    told = [condition for condition in status.conditions if _is_news(before.get(condition.type), condition)]
    by_reason = {condition.reason: condition for condition in told}
    return tuple(_event(service, condition, now) for condition in by_reason.values())


def _is_news(before: Condition | None, condition: Condition) -> bool:
    """A refusal or failure that is new or has another reason, or Ready turning."""
    if condition.type not in TOLD or (before is not None and before.status == condition.status):
        same_reason = before is not None and before.reason == condition.reason
        return condition.type == "Stalled" and not same_reason
    if condition.type == "Ready":
        return before is not None or condition.status == "True"
    return condition.type == "Stalled" or condition.status == "False"


def _event(service: ObjectMeta, condition: Condition, now: datetime) -> Manifest:
    """Named by what it says, so that saying it again renews the one event instead of making another."""
    digest = hashes.of([service.uid, condition.type, condition.status, condition.reason])
    good = condition.type == "Ready" and condition.status == "True"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{service.name}.{digest}", "namespace": service.namespace},
        "involvedObject": {
            "apiVersion": types.API_VERSION,
            "kind": types.KIND,
            "name": service.name,
            "namespace": service.namespace,
            "uid": service.uid,
        },
        "type": "Normal" if good else "Warning",
        "reason": condition.reason,
        "message": condition.message[:1024],
        "source": {"component": "fusioninfer"},
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
    }
