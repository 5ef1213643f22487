"""How a pod ends: it leaves the Service, goes on serving for a moment, finishes its requests, and is gone in time.

told to end ── drain ── SIGTERM ── finish ── clean up ── SIGKILL
|<──────────────────── grace ─────────────────────────>|
"""

from __future__ import annotations

from fusioninfer.api.service import Manifest
from fusioninfer.api.types import ComponentType

GRACE_SECONDS = 60
"""Time to finish streams after the pod has left the Service; Kubernetes' own default of 30 is short for an LLM."""
DRAIN_SECONDS = 5
"""How long a pod goes on serving after it was told to end: until every node's proxy has dropped it from the Service."""
HOLD_SECONDS = 30
"""How long a prefiller keeps a KV cache that no decoder has fetched yet (vLLM's kv_lease_duration)."""
CLEAN_UP_SECONDS = 15
"""Left to an engine after its last request: it ends its processes and frees the GPUs."""


def grace_seconds(spec: Manifest) -> int:
    """From "told to end" to SIGKILL, in a pod of `spec`."""
    return int(spec.get("terminationGracePeriodSeconds", GRACE_SECONDS))


def drain_seconds(spec: Manifest, component_type: ComponentType) -> int:
    """From "told to end" to SIGTERM, unless the user wrote a preStop.

    A prefiller gets no more prompts, but decoders have yet to fetch what it has computed, and only then ask for it.
    """
    hold = HOLD_SECONDS if component_type == "prefiller" else 0
    return min(DRAIN_SECONDS + hold, grace_seconds(spec) // 2)


def finish_seconds(spec: Manifest, container: Manifest, component_type: ComponentType) -> int:
    """From SIGTERM to when `container`'s requests must be through; a user's preStop sleep counts in place of ours."""
    pre_stop = (container.get("lifecycle") or {}).get("preStop") or {}
    drain = int((pre_stop.get("sleep") or {}).get("seconds", drain_seconds(spec, component_type)))
    return max(grace_seconds(spec) - drain - CLEAN_UP_SECONDS, 1)


def worker_pause_seconds(spec: Manifest, container: Manifest, component_type: ComponentType) -> int:
    """From "told to end" to SIGTERM for the other processes of the copy that `container` leads.

    All pods of a copy are told at once, and the leader cannot finish a request without the others.
    """
    drain = drain_seconds(spec, component_type)
    return drain + finish_seconds(spec, container, component_type) if drain else 0
