"""How a role's workload gets from where it is to what is desired, one step at a time; integers and values only.

Three things stand between the desired workload and the one to be sent next:

1. the template: pods are restarted because the user changed the role, never because we build templates differently now;
2. replicas: a number that the user does not give belongs to whoever scales the workload;
3. a surge, which a LeaderWorkerSet makes itself and a StatefulSet does not know. With `n` copies and `s` to lend,
   a change goes

       new template, n + s copies, partition n    only the lent copies are made from the new template
       … they are ready:       partition 0        now the old ones are replaced, one after the other
       … all are:   n copies                      the lent ones end

   Where it stands is read from the live object and its pods alone, so that a restart of the operator changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from fusioninfer.api import names
from fusioninfer.api.service import Manifest, Role
from fusioninfer.reconcile import ownership
from fusioninfer.reconcile.snapshot import Pod, StatefulSet, Workload


@dataclass(frozen=True, slots=True)
class Staged:
    """The workload to be sent next."""

    manifest: Manifest
    update_pending: bool = False
    """The live template was kept, since only we would build it differently."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many copies, from which index on they are updated, and how many of them are lent."""

    replicas: int
    partition: int
    lent: int = 0


def staged(desired: Manifest, role: Role, live: Workload | None, pods: tuple[Pod, ...]) -> Staged:
    """The next step of `role` towards `desired`; `pods` are those that `live` controls."""
    if live is None:
        return Staged(desired)
    ours = ownership.held_by(live.metadata.managedFields, names.MANAGER)
    others = ownership.held_by_others(live.metadata.managedFields, names.MANAGER)
    pending = _only_we_changed(desired, live) and not _was_taken(desired, live.template_field, ours, others)
    manifest = _with_live_template(desired, live, ours) if pending else desired
    return Staged(_with_replicas(manifest, role, live, pods), pending)


def held_back(desired: Manifest, role: Role, live: Workload | None, pods: tuple[Pod, ...]) -> Staged:
    """The next step of `role` if its change has to wait: as `staged`, with the live template and the words for it."""
    if live is None:
        return Staged(desired)
    manifest = _with_live_template(desired, live, ownership.held_by(live.metadata.managedFields, names.MANAGER))
    words = {names.ROLE_INPUT: live.metadata.annotations.get(names.ROLE_INPUT)}
    kept = _with(manifest, {}, {**manifest["metadata"]["annotations"], **words})
    return Staged(_with_replicas(kept, role, live, pods))


# --- the template -------------------------------------------------------------------------------------------------


def _annotation(manifest: Manifest) -> str:
    return str(manifest["metadata"]["annotations"][names.TEMPLATE])


def _live_annotation(live: Workload) -> str | None:
    return live.metadata.annotations.get(names.TEMPLATE)


def _only_we_changed(desired: Manifest, live: Workload) -> bool:
    same_words = live.metadata.annotations.get(names.ROLE_INPUT) == desired["metadata"]["annotations"][names.ROLE_INPUT]
    return same_words and _live_annotation(live) not in (None, _annotation(desired))


def _was_taken(
    desired: Manifest, field: str, ours: ownership.Fields, others: tuple[ownership.Fields, ...]
) -> bool:  # fmt: skip
    """Somebody else wrote a part of the template over: what stood there is lost, so there is nothing to keep."""
    template = desired["spec"][field]
    lost = set(ownership.not_held(template, ownership.subtree(ours, "spec", field) or {".": {}}))
    for other in others:
        theirs = ownership.subtree(other, "spec", field)
        if theirs:
            missing = set(ownership.not_held(template, theirs))
            if any(not _covered(path, missing) for path in lost):
                return True
    return False


def _covered(path: ownership.Path, missing: set[ownership.Path]) -> bool:
    return any(path[:length] in missing for length in range(1, len(path) + 1))


def _with_live_template(desired: Manifest, live: Workload, ours: ownership.Fields) -> Manifest:
    field = live.template_field
    template = ownership.held_part(msgspec.json.decode(live.template), ownership.subtree(ours, "spec", field) or {})
    annotations = {**desired["metadata"]["annotations"], names.TEMPLATE: _live_annotation(live)}
    return _with(desired, {field: template}, annotations)


def _with(manifest: Manifest, spec: dict[str, Any], annotations: dict[str, Any]) -> Manifest:
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "annotations": annotations},
        "spec": {**manifest["spec"], **spec},
    }


# --- replicas -----------------------------------------------------------------------------------------------------


def _with_replicas(manifest: Manifest, role: Role, live: Workload, pods: tuple[Pod, ...]) -> Manifest:
    """`manifest`, whose template is decided, with so many copies as there are to be next."""
    if role.replicas is None:
        ours = ownership.held_by(live.metadata.managedFields, names.MANAGER)
        return _with_live_replicas(
            manifest, live, ours, ownership.held_by_others(live.metadata.managedFields, names.MANAGER)
        )
    if not isinstance(live, StatefulSet):
        return manifest
    size = next_size(role, live, pods, template_changes=_annotation(manifest) != _live_annotation(live))
    return _with_size(manifest, size)


def _with_live_replicas(
    manifest: Manifest, live: Workload, ours: ownership.Fields, others: tuple[ownership.Fields, ...]
) -> Manifest:
    """Without replicas, unless we alone hold the number: to let go of it then would reset it to 1."""
    held = ownership.subtree(ours, "spec", "replicas") is not None
    theirs = any(ownership.subtree(other, "spec", "replicas") is not None for other in others)
    if not held or theirs:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": live.spec.replicas}}


# --- the surge ----------------------------------------------------------------------------------------------------


def next_size(role: Role, live: StatefulSet, pods: tuple[Pod, ...], *, template_changes: bool) -> Size:
    """The size of the StatefulSet in the next step; `role.replicas` is given."""
    copies = role.replicas or 0
    partition = role.rolling_update.partition
    whole = Size(copies, partition)
    surge = surplus(role.rolling_update.max_surge, copies)
    if not surge or not copies:
        return whole
    waiting, moving = Size(copies + surge, max(copies, partition), surge), Size(copies + surge, partition, surge)
    if template_changes:
        return waiting
    if names.SURGE not in live.metadata.annotations:
        return whole
    if not live.observed:
        return waiting if live.partition > partition else moving
    revision = live.status.updateRevision
    updated = {pod.index for pod in pods if pod.revision == revision}
    serving = {pod.index for pod in pods if pod.ready} & updated
    own = range(min(partition, copies), copies)
    if serving.issuperset(own):
        return whole
    lent_ready = len([index for index in serving if index >= copies]) >= surge
    if live.partition > partition and not lent_ready and not updated.issuperset(own):
        return waiting
    return moving


def surplus(max_surge: int | str, copies: int) -> int:
    """`max_surge` as a count of copies; a percentage is rounded up."""
    if isinstance(max_surge, int):
        return max_surge
    return math.ceil(int(max_surge.rstrip("%")) * copies / 100)


def _with_size(manifest: Manifest, size: Size) -> Manifest:
    annotations = dict(manifest["metadata"]["annotations"])
    if size.lent:
        annotations[names.SURGE] = str(size.lent)
    strategy = manifest["spec"]["updateStrategy"]
    rolling = {**strategy["rollingUpdate"], "partition": size.partition}
    return _with(
        manifest,
        {"replicas": size.replicas, "updateStrategy": {**strategy, "rollingUpdate": rolling}},
        annotations,
    )
