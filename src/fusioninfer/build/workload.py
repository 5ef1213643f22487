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
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(service, role, hashes.of(template)),
        "spec": {
            **_replicas(role),
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


def leader_worker_set(service: InferenceService, role: Role, leader: Manifest, worker: Manifest) -> Manifest:
    """A role whose copies have several nodes each: a group of one leader and its workers for every copy.

    Workers are made as soon as their leader is, since no engine's leader becomes ready without them. Restarting one
    container restarts its group, for the others would wait for it; not while a pod of the group is still pending, so
    that a slow image pull is no restart. That is asked for by an annotation rather than by the policy's newer name,
    because the policy is part of the LWS's revision: a name that changes restarts everybody.
    Policies that LWS would fill in are written out: its controller needs them (LWS v0.9 webhook).
    """
    template = {"size": role.nodes_per_replica, "restartPolicy": "RecreateGroupOnPodRestart"}
    digest = hashes.of({**template, "leaderTemplate": leader, "workerTemplate": worker})
    metadata = _metadata(service, role, digest)
    metadata["annotations"] = {RECREATE_AFTER_START: "true", **metadata["annotations"]}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": metadata,
        "spec": {
            **_replicas(role),
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {
                    "maxUnavailable": role.rolling_update.max_unavailable,
                    "maxSurge": role.rolling_update.max_surge,
                    "partition": role.rolling_update.partition,
                },
            },
            "networkConfig": {"subdomainPolicy": "Shared"},
            "leaderWorkerTemplate": {
                **template,
                "leaderTemplate": _made_from(leader, digest),
                "workerTemplate": _made_from(worker, digest),
            },
        },
    }


RECREATE_AFTER_START = "leaderworkerset.sigs.k8s.io/experimental-recreate-group-after-start"


def _made_from(template: Manifest, digest: str) -> Manifest:
    """`template` with what tells pods of the present template from older ones; an LWS does not say its revision."""
    metadata = template["metadata"]
    annotations = {**(metadata.get("annotations") or {}), names.TEMPLATE: digest}
    return {**template, "metadata": {**metadata, "annotations": annotations}}


def _replicas(role: Role) -> Manifest:
    return {} if role.replicas is None else {"replicas": role.replicas}


def _metadata(service: InferenceService, role: Role, template_digest: str) -> Manifest:
    labels = names.role_labels(service.name, role.name, role.component_type)
    return child_metadata(
        service,
        names.workload(service.name, role.name),
        labels={**role.labels, **labels},
        annotations={**role.annotations, names.ROLE_INPUT: role.input_hash, names.TEMPLATE: template_digest},
    )
