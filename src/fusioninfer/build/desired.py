"""Second stage: what a service means → everything that should exist for it. The table of contents."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.api.service import InferenceService, Manifest, Role
from fusioninfer.build import engines
from fusioninfer.build.entry import entry_service
from fusioninfer.build.pod import pod_template, serving_port
from fusioninfer.build.workload import stateful_set


@dataclass(frozen=True, slots=True)
class RoleObjects:
    """One role and what it is made of."""

    role: Role
    found: engines.Found
    workload: Manifest


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
    target_port = serving_port(serving.workload["spec"]["template"], serving.found, serving.role)
    return Desired(entry_service(service, target_port), roles)


def _role_objects(service: InferenceService, role: Role, installed: engines.Engines) -> RoleObjects:
    found = engines.found(role, installed)
    return RoleObjects(role, found, stateful_set(service, role, pod_template(service, role, found)))
