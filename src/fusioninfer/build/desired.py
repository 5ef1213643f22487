"""Second stage: what a service means → everything that should exist for it. The table of contents."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.api.service import InferenceService, Manifest, Role
from fusioninfer.build import engines
from fusioninfer.build.entry import entry_service
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


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that should exist for one service."""

    entry: Manifest
    roles: tuple[RoleObjects, ...]

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All objects, in the order in which `fusioninfer render` shows them."""
        return (self.entry, *(role.workload for role in self.roles))


def desired_objects(service: InferenceService, installed: engines.Engines) -> Desired:
    """What should exist for `service`; raises InvalidSpec for what only an engine can refuse."""
    roles = tuple(_role_objects(service, role, installed) for role in service.engine_roles)
    serving = next(objects for objects in roles if objects.role in service.entry_roles)
    return Desired(entry_service(service, serving.port_name), roles)


def _role_objects(service: InferenceService, role: Role, installed: engines.Engines) -> RoleObjects:
    found = engines.found(role, installed)
    launch = leader_launch(role, found)
    leader = leader_template(service, role, found, launch)
    workload = (
        stateful_set(service, role, leader)
        if role.nodes_per_replica == 1
        else leader_worker_set(service, role, leader, worker_template(service, role, found))
    )
    return RoleObjects(role, found, workload, port_name(leader, found, launch.port), _warnings(found, launch))


def _warnings(found: engines.Found, launch: engines.Launch) -> tuple[str, ...]:
    if found.evidence.is_sure:
        return launch.warnings
    assumed = f"engine {found.engine.name} is assumed, since {found.evidence.words}; name it in `engine` to be sure"
    return (assumed, *launch.warnings)
