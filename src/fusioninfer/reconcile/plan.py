"""Third stage: what should exist and what does → what to change, in order, with a reason for every step. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from fusioninfer.api import hashes, names
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, RoleObjects, RouterObjects
from fusioninfer.build.router.deployment import ENVOY
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.kube.requests import ABSENT, Resource
from fusioninfer.reconcile import ownership
from fusioninfer.reconcile.gang import NextGang, next_gang
from fusioninfer.reconcile.gateway_api import POOLS
from fusioninfer.reconcile.revisions import pairing
from fusioninfer.reconcile.rollout import Staged, held_back, staged
from fusioninfer.reconcile.snapshot import (
    CHILDREN,
    DEPLOYMENTS,
    LEADER_WORKER_SETS,
    LWS_NAME,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    WORKLOADS,
    Child,
    Entry,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class Apply:
    """Send `manifest`, which carries its guard: it must be absent, or still be the object that was seen."""

    resource: Resource
    manifest: Manifest
    reason: str

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def creates(self) -> bool:
        return "uid" not in self.manifest["metadata"]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a child of ours that is not wanted any more, if it is still the one with `uid`."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    reason: str
    propagation: str
    """Foreground: it is gone only after its pods, so that what takes its name next meets none of them."""


@dataclass(frozen=True, slots=True)
class NameTaken:
    """A child's name belongs to somebody else, whose object is left alone."""

    kind: str
    name: str
    holder: str

    @classmethod
    def by(cls, kind: str, metadata: ObjectMeta, otherwise: str) -> NameTaken:
        """Held by the controller of the object with `metadata`; `otherwise` says by whom if it has none."""
        controller = metadata.controller
        return cls(kind, metadata.name, f"{controller.kind} {controller.name!r}" if controller else otherwise)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write. Empty when the cluster is as desired."""

    waves: tuple[tuple[Apply, ...], ...] = ()
    """Each after the one before it; what is in one is independent of each other."""
    deletes: tuple[Delete, ...] = ()
    taken: tuple[NameTaken, ...] = ()
    update_pending: frozenset[str] = frozenset()
    """Roles whose live template was kept although this version would build another."""
    recreating: frozenset[str] = frozenset()
    """Roles whose workload goes first, for the next one has its name: of the other kind, since copies get several nodes
    or one again; or with a template that no roll-out would bring to a gang that waits."""
    uninstalled: frozenset[str] = frozenset()
    """Roles whose kind of workload the cluster does not know."""
    router_lacks: tuple[Resource, ...] = ()
    """Kinds that the router needs and the cluster does not know: it is not made, and what is there goes on."""
    router_is_bypassed: bool = False
    """Clients are not led to the router: it is new and does not answer yet, and others did before."""
    decoders_stand_alone: bool = False
    """No prompt is sent to prefillers, since not all pods of both sides have one KV revision."""
    held: frozenset[str] = frozenset()
    """Roles whose change is not sent yet: it would pair those that do not understand each other."""
    is_stuck: bool = False
    """What is held waits for the user."""
    gang_is_uninstalled: bool = False
    """The cluster knows no gangs: no workload is touched, for its new pods would find no scheduler."""

    @property
    def applies(self) -> tuple[Apply, ...]:
        """All that is to be applied, in order."""
        return tuple(step for wave in self.waves for step in wave)

    @property
    def is_empty(self) -> bool:
        return not (self.applies or self.deletes)


def plan_changes(desired: Desired, snapshot: Snapshot) -> Plan:
    """The steps from what was seen to what should exist.

    Nothing is deleted as long as something cannot be made: what runs goes on until what takes its place can.
    The gang is there before pods name it, asks for less before there are fewer, and for more when there are more.
    """
    gang = next_gang(desired, snapshot)
    if gang is not None and gang.manifest["kind"] in snapshot.unserved and desired.gang is None:
        gang = None  # nobody asks for one any more, and what pods still name is gone with its kind
    gang_is_uninstalled = gang is not None and gang.manifest["kind"] in snapshot.unserved
    uninstalled = frozenset(o.role.name for o in desired.roles if o.workload["kind"] in snapshot.unserved)
    recreating = frozenset(o.role.name for o in desired.roles if _is_in_the_way(o, snapshot)) - uninstalled
    if desired.gang is not None:
        recreating |= {o.role.name for o in desired.roles if _can_only_be_made_anew(o, snapshot)} - uninstalled
    needed = () if desired.router is None else desired.router.manifests
    router_lacks = tuple(_resource(manifest) for manifest in needed if manifest["kind"] in snapshot.unserved)
    bypassed = _is_bypassed(desired, snapshot)
    entry = desired.direct_entry if bypassed else desired.entry
    workloads = {
        objects.role.name: _staged(objects, snapshot)
        for objects in desired.roles
        if objects.role.name not in recreating | uninstalled
    }
    paired = pairing(
        desired,
        snapshot,
        {name: step.manifest for name, step in workloads.items()},
        is_off_already=bool(router_lacks) or _is_in_place(desired.decoders_router, snapshot),
    )
    workloads |= {o.role.name: _held_back(o, snapshot) for o in desired.roles if o.role.name in paired.held}
    router = paired.router
    routing = {} if router is None or router_lacks else {router.role.name: _staged(router, snapshot)}
    parts = _parts(router, snapshot) if router is not None and routing else ()
    route = router.route if router is not None and routing else None
    open_to_all = [entry, *parts, *(step.manifest for step in routing.values())]
    grouped = gang if not gang_is_uninstalled else None
    gang_is_taken = grouped is not None and _taken(grouped.manifest, snapshot) is not None
    is_held = gang_is_uninstalled or gang_is_taken  # new pods would find no place, or one in somebody else's gang
    waves = _around(grouped, [*open_to_all, *(() if is_held else (step.manifest for step in workloads.values()))])
    waves += [] if route is None else [[route]]  # last: no gateway is to look for a pool that is still to come
    sent = [[signed(manifest) for manifest in wave] for wave in waves]
    wanted = [manifest for wave in sent for manifest in wave]
    is_whole = not (uninstalled or router_lacks or is_held)
    return Plan(
        waves=tuple(steps for wave in sent if (steps := _applies(wave, snapshot))),
        deletes=tuple(_deletes({_place(manifest) for manifest in wanted}, snapshot)) if is_whole else (),
        taken=tuple(taken for manifest in wanted if (taken := _taken(manifest, snapshot)) is not None),
        update_pending=frozenset(name for name, step in {**workloads, **routing}.items() if step.update_pending),
        recreating=recreating,
        uninstalled=uninstalled,
        router_lacks=router_lacks,
        router_is_bypassed=bypassed,
        gang_is_uninstalled=gang_is_uninstalled,
        decoders_stand_alone=paired.is_off,
        held=paired.held,
        is_stuck=paired.is_stuck,
    )


def _around(gang: NextGang | None, others: list[Manifest]) -> list[list[Manifest]]:
    """Everything in waves: the gang before or after all others."""
    if gang is None:
        return [others]
    return [[gang.manifest], others] if gang.comes_first else [others, [gang.manifest]]


def _parts(router: RouterObjects, snapshot: Snapshot) -> tuple[Manifest, ...]:
    """All but Deployment and route, as far as the cluster knows their kinds."""
    served = (manifest for manifest in router.for_providers if manifest["kind"] not in snapshot.unserved)
    return (*router.parts, *served)


def _is_bypassed(desired: Desired, snapshot: Snapshot) -> bool:
    """Whether clients are still led past the router, since it has never answered and others do.

    Of a router that was behind a gateway the pods lack the Envoy that answers.
    """
    router = desired.router
    live = snapshot.children.get(_place(desired.entry))
    if router is None or not isinstance(live, Entry) or not snapshot.owns(live):
        return False
    if live.spec.selector == desired.entry["spec"]["selector"]:
        return False
    deployment = snapshot.workload(router.workload["metadata"]["name"], router.workload["kind"])
    return not any(pod.ready and pod.runs(ENVOY) for pod in snapshot.pods_of(deployment))


def _staged(objects: RoleObjects, snapshot: Snapshot) -> Staged:
    live = snapshot.workload(objects.workload["metadata"]["name"], objects.workload["kind"])
    return staged(objects.workload, objects.role, live, snapshot.pods_of(live))


def _held_back(objects: RoleObjects, snapshot: Snapshot) -> Staged:
    live = snapshot.workload(objects.workload["metadata"]["name"], objects.workload["kind"])
    return held_back(objects.workload, objects.role, live, snapshot.pods_of(live))


def _is_in_place(router: RouterObjects | None, snapshot: Snapshot) -> bool:
    """Every picker goes by what `router` says: by its pool, or else because every pod of it was made so."""
    if router is None:
        return False
    if router.release.needs_pool:
        return all(_is_as_applied(part, snapshot) for part in router.parts if part["kind"] == POOLS.kind)
    mark = router.workload["metadata"]["annotations"][names.TEMPLATE]
    deployment = snapshot.workload(router.workload["metadata"]["name"], router.workload["kind"])
    pods = snapshot.pods_of(deployment)
    return bool(pods) and all(pod.metadata.annotations.get(names.TEMPLATE) == mark for pod in pods)


def _is_as_applied(manifest: Manifest, snapshot: Snapshot) -> bool:
    live = _live(manifest, snapshot)
    return live is not None and snapshot.owns(live) and _difference(signed(manifest), live) is None


def _is_in_the_way(objects: RoleObjects, snapshot: Snapshot) -> bool:
    """A workload of the other kind holds the role's name, or pods of one are not gone yet."""
    name, kind = objects.workload["metadata"]["name"], objects.workload["kind"]
    if any(snapshot.workload(name, other.kind) for other in WORKLOADS if other.kind != kind):
        return True
    several_nodes = kind == LEADER_WORKER_SETS.kind
    return snapshot.workload(name, kind) is None and any(
        (LWS_NAME in pod.metadata.labels) != several_nodes
        for pod in snapshot.pods
        if pod.metadata.labels.get(names.ROLE_LABEL) == objects.role.name
    )


def _can_only_be_made_anew(objects: RoleObjects, snapshot: Snapshot) -> bool:
    """A template changes of which no pod has a node, since their gang waits.

    Workloads replace one copy after the other, and go on when it is ready: of a gang that waits none will be. Without
    given replicas it is left to whoever scales the workload, for the number would be lost with it.
    """
    role = objects.role
    live = snapshot.workload(objects.workload["metadata"]["name"], objects.workload["kind"])
    pods = [pod for pod in snapshot.pods_of(live) if not pod.ends]
    if live is None or role.replicas is None or role.rolling_update.partition or not pods:
        return False
    if any(pod.spec.nodeName for pod in pods):
        return False
    manifest = _staged(objects, snapshot).manifest
    changes = manifest["metadata"]["annotations"][names.TEMPLATE] != live.metadata.annotations.get(names.TEMPLATE)
    return changes or (live.observed and not all(live.is_updated(pod) for pod in pods))


def _resource(manifest: Manifest) -> Resource:
    return CHILDREN[manifest["apiVersion"], manifest["kind"]]


def _place(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def signed(manifest: Manifest) -> Manifest:
    """`manifest` with the hash of itself.

    A template is stood for by its own hash, which a workload carries already. The owner is left out: that it is
    lost shows in the live object, and so the hash is the same offline, where nobody knows the owner's uid.
    """
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations", {})
    kept = {key: value for key, value in metadata.items() if key != "ownerReferences"}
    hashed = {**manifest, "metadata": kept}
    if names.TEMPLATE in annotations:
        hashed["spec"] = {key: value for key, value in manifest["spec"].items() if key not in _TEMPLATES}
    digest = hashes.of(hashed)
    return {**manifest, "metadata": {**metadata, "annotations": {**annotations, names.APPLIED: digest}}}


_TEMPLATES = ("template", "leaderWorkerTemplate")


def _live(manifest: Manifest, snapshot: Snapshot) -> Child | None:
    return snapshot.children.get(_place(manifest))


def _taken(manifest: Manifest, snapshot: Snapshot) -> NameTaken | None:
    live = _live(manifest, snapshot)
    if live is None or snapshot.owns(live):
        return None
    return NameTaken.by(manifest["kind"], live.metadata, "somebody without a controller reference")


def _applies(wave: list[Manifest], snapshot: Snapshot) -> tuple[Apply, ...]:
    return tuple(step for manifest in wave if (step := _apply(manifest, snapshot)) is not None)


def _apply(manifest: Manifest, snapshot: Snapshot) -> Apply | None:
    resource = _resource(manifest)
    live = _live(manifest, snapshot)
    if live is None:
        return Apply(resource, _guarded(manifest, **ABSENT), "it does not exist")
    if live.metadata.deletionTimestamp is not None or not snapshot.owns(live):
        return None  # it is about to go, and its end will be seen; or it is not ours
    reason = _difference(manifest, live)
    return None if reason is None else Apply(resource, _guarded(manifest, uid=live.metadata.uid), reason)


def _guarded(manifest: Manifest, **guard: str) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], **guard}}


def _difference(manifest: Manifest, live: Child) -> str | None:
    """Why `live` is not what `manifest` says; None if it is.

    Values are not compared, since the server normalises them and webhooks add to them: it is as we applied it
    if it carries the same hash and we still hold every field.
    """
    if live.metadata.controller is None:
        return "it has lost its owner"
    if live.metadata.annotations.get(names.APPLIED) != manifest["metadata"]["annotations"][names.APPLIED]:
        return "something else is wanted now"
    ours = ownership.held_by(live.metadata.managedFields, names.MANAGER)
    lost = ownership.not_held(_compared(manifest), ours or {".": {}})
    return f"somebody else changed {', '.join('.'.join(path) for path in lost[:3])}" if lost else None


def _compared(manifest: Manifest) -> Manifest:
    metadata = {key: manifest["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    return {**rest, "metadata": metadata}


def _is_still_used(live: Child, resource: Resource, kept: Container[tuple[str, str]], snapshot: Snapshot) -> bool:
    """A router that ends finishes its requests, for which its picker needs its pool and its rights."""
    if resource not in _OF_A_PICKER or (DEPLOYMENTS.kind, live.metadata.name) in kept:
        return False
    labels = (names.ROLE_LABEL, names.COMPONENT_TYPE_LABEL)
    wanted = [live.metadata.labels.get(label) for label in labels]
    return any([pod.metadata.labels.get(label) for label in labels] == wanted for pod in snapshot.pods)


_OF_A_PICKER = (SERVICE_ACCOUNTS, ROLE_BINDINGS, POOLS)


def _deletes(kept: Container[tuple[str, str]], snapshot: Snapshot) -> Iterable[Delete]:
    resources = {resource.kind: resource for resource in CHILDREN.values()}
    for (kind, name), live in snapshot.children.items():
        if (kind, name) not in kept and snapshot.owns(live) and live.metadata.deletionTimestamp is None:
            if _is_still_used(live, resources[kind], kept, snapshot):
                continue
            yield Delete(
                resources[kind],
                live.metadata.namespace,
                name,
                live.metadata.uid,
                "nothing asks for it any more",
                "Foreground" if resources[kind] in WORKLOADS else "Background",
            )
