"""One role → the workload that runs its pods."""

from __future__ import annotations

from fusioninfer.api import hashes, names
from fusioninfer.api.service import InferenceService, Manifest, Role
from fusioninfer.build.metadata import child_metadata


def stateful_set(service: InferenceService, role: Role, template: Manifest) -> Manifest:
    """A role whose copies have one node each.

    `serviceName` must be set and is the set's own name; no such Service is made, since nobody asks for single pods.
    """
    name = names.workload(service.name, role.name)
    labels = names.role_labels(service.name, role.name, role.component_type)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": child_metadata(
            service,
            name,
            labels={**role.labels, **labels},
            annotations={
                **role.annotations,
                names.ROLE_INPUT: role.input_hash,
                names.TEMPLATE: hashes.of(template),
            },
        ),
        "spec": {
            **({} if role.replicas is None else {"replicas": role.replicas}),
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {names.SERVICE_LABEL: service.name, names.ROLE_LABEL: role.name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": _rolling_update(role)},
            "template": template,
        },
    }


def _rolling_update(role: Role) -> Manifest:
    """StatefulSet's words for the role's strategy; a surge is staged by `rollout`, for StatefulSet has none.

    maxUnavailable 1 is its default and 0 it refuses; above that it needs MaxUnavailableStatefulSet (on from 1.35).
    """
    unavailable = role.rolling_update.max_unavailable
    return {
        "partition": role.rolling_update.partition,
        **({} if unavailable in (0, 1, "0%") else {"maxUnavailable": unavailable}),
    }
