"""Second stage: what a service means → everything that should exist for it. The table of contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusioninfer.api.service import InferenceService, Manifest, Role
from fusioninfer.build import engines
from fusioninfer.build.entry import entry_service
from fusioninfer.build.gang import Member
from fusioninfer.build.gang.schedulers import SCHEDULERS
from fusioninfer.build.pod import leader_launch, leader_template, port_name, worker_template
from fusioninfer.build.workload import leader_worker_set, stateful_set


@dataclass(frozen=True, slots=True)
class RoleObjects:
    """One role and what it is made of."""

    role: Role
    found: engines.Found
    workload: Manifest
    port_name: str
    """What its pods call the port on which they answer."""
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[str, str]:
        """apiVersion and kind of its workload."""
        return self.workload["apiVersion"], self.workload["kind"]

    @property
    def templates(self) -> tuple[Manifest, Manifest]:
        """The pods of a copy: the leader's template, and that of all others."""
        spec = self.workload["spec"]
        if self.role.nodes_per_replica == 1:
            return spec["template"], spec["template"]
        return spec["leaderWorkerTemplate"]["leaderTemplate"], spec["leaderWorkerTemplate"]["workerTemplate"]


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that should exist for one service."""

    service: InferenceService
    entry: Manifest
    roles: tuple[RoleObjects, ...]
    gang: Manifest | None = None
    """What stands for the gang, if one was asked for, as it is once all that was asked for runs."""

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All objects, in the order in which `fusioninfer render` shows them."""
        gang = () if self.gang is None else (self.gang,)
        return (self.entry, *gang, *(role.workload for role in self.roles))


def desired_objects(service: InferenceService, installed: engines.Engines) -> Desired:
    """What should exist for `service`; raises InvalidSpec for what only an engine can refuse."""
    roles = tuple(_role_objects(service, role, installed) for role in service.engine_roles)
    serving = next(objects for objects in roles if objects.role in service.entry_roles)
    return Desired(service, entry_service(service, serving.port_name), roles, _gang(service))


def _gang(service: InferenceService) -> Manifest | None:
    if service.gang is None:
        return None
    copies = {role.name: 1 if role.replicas is None else role.replicas for role in service.engine_roles}
    return SCHEDULERS[service.gang.scheduler].group(service, members(service, copies))


def members(service: InferenceService, copies: Mapping[str, int]) -> tuple[Member, ...]:
    """The engine roles in the gang, each of which has so many `copies`; none is needed where no gang was asked for."""
    gang = service.gang
    return tuple(
        Member(role.name, role.nodes_per_replica, 0 if gang is None else gang.needed(role.name, copies[role.name]))
        for role in service.engine_roles
    )


def _role_objects(service: InferenceService, role: Role, installed: engines.Engines) -> RoleObjects:
    found = engines.found(role, installed)
    launch = leader_launch(role, found)
    leader = leader_template(service, role, found, launch)
    workload = (
        stateful_set(service, role, leader)
        if role.nodes_per_replica == 1
        else leader_worker_set(service, role, leader, worker_template(service, role, found))
    )
    warnings = _warnings(service, role, found, launch)
    return RoleObjects(role, found, workload, port_name(leader, found, launch.port), warnings)


def _warnings(
    service: InferenceService, role: Role, found: engines.Found, launch: engines.Launch
) -> tuple[str, ...]:  # fmt: skip
    warnings = list(launch.warnings)
    if not found.evidence.is_sure:
        warnings.append(
            f"engine {found.engine.name} is assumed, since {found.evidence.words}; name it in `engine` to be sure"
        )
    if role.component_type == "prefiller" and service.engine_roles == service.roles:
        warnings.append("no router sends it anything: the decoders answer alone")
    return tuple(warnings)
