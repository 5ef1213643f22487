"""Which prefillers and decoders may be paired: only those of one KV revision, at any moment of any change.

A change of what both sides must agree on (image, model, dtype …) goes

    the picker knows the decoders alone        they compute their prompts themselves
    … it is so:    the new templates           pods of both revisions come and go, none is paired with another
    … one revision is left:    both sides      prompts are sent apart again

Where it stands is read from the labels of the pods and from the router's objects alone. Decoders that answer nothing
without a prefiller cannot go this way: their change is held back until one side has no pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusioninfer.api import names
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, EngineObjects, RouterObjects, serving_template
from fusioninfer.reconcile.snapshot import Pod, Snapshot


@dataclass(frozen=True, slots=True)
class Pairing:
    """What may be paired now."""

    router: RouterObjects | None
    """The router as it should be now."""
    held: frozenset[str] = frozenset()
    """Roles whose live template is kept for now, though the user has changed it."""
    is_off: bool = False
    """No prompt is sent to prefillers, for there are pods, or will be, that could not take their cache."""
    is_stuck: bool = False
    """The change waits for the user: decoders cannot answer alone."""


def pairing(
    desired: Desired, snapshot: Snapshot, next_workloads: Mapping[str, Manifest], *, is_off_already: bool
) -> Pairing:  # fmt: skip
    """What may be paired, if `next_workloads`, by role, were to be sent next; `is_off_already`: pickers send no prompts
    to prefillers."""
    if desired.router is None or desired.decoders_router is None:
        return Pairing(desired.router)
    sides = [objects for objects in desired.roles if objects.role.name in next_workloads]
    coming = {o.role.name: _revision(serving_template(next_workloads[o.role.name], o.role)) for o in sides}
    pods = {objects.role.name: _serving(objects, snapshot) for objects in sides}
    present = {_label(pod) for those in pods.values() for pod in those}
    if len(present | set(coming.values())) <= 1:
        return Pairing(desired.router)
    changing = frozenset(name for name, revision in coming.items() if {_label(pod) for pod in pods[name]} - {revision})
    if all(objects.serves_alone for objects in sides if objects.role.component_type == "decoder"):
        held = frozenset() if is_off_already else changing
        return Pairing(desired.decoders_router, held, is_off=True)
    meet = all(any(pods[o.role.name] for o in sides if o.role.component_type == kind) for kind in _SIDES)
    return Pairing(desired.router, changing if meet else frozenset(), is_stuck=meet and bool(changing))


_SIDES = ("prefiller", "decoder")


def _revision(template: Manifest) -> str:
    return str(template["metadata"]["labels"].get(names.KV_REVISION, ""))


def _label(pod: Pod) -> str:
    return pod.metadata.labels.get(names.KV_REVISION, "")


def _serving(objects: EngineObjects, snapshot: Snapshot) -> tuple[Pod, ...]:
    """The role's pods that answer, or soon will. One that ends is picked no more."""
    return tuple(
        pod
        for pod in snapshot.pods
        if pod.metadata.labels.get(names.ROLE_LABEL) == objects.role.name
        and pod.metadata.labels.get(names.SERVING_LABEL) == "true"
        and not pod.ends
    )
