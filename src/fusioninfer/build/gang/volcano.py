"""Volcano's PodGroup (scheduling.volcano.sh/v1beta1, Volcano 1.14 or newer for subGroupPolicy).

No `minResources`: with it Volcano admits a group to its queue before it looks at nodes, and a group that is not
admitted says nothing of how much of it would fit, preempts nobody, and holds up others behind it that would fit
(docs/decisions, 0009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusioninfer.api import names
from fusioninfer.api.service import Gang, InferenceService, Manifest
from fusioninfer.build.gang import Member
from fusioninfer.build.metadata import child_metadata


@dataclass(frozen=True, slots=True)
class Volcano:
    """Volcano as a gang scheduler."""

    name: str = "volcano"
    group_annotation: str = "scheduling.k8s.io/group-name"

    def group(self, service: InferenceService, members: tuple[Member, ...]) -> Manifest:
        """The PodGroup.

        `minMember` says how many pods must fit, and `minSubGroups` of which roles they must be. With no member in
        need `minMember` is 1, for Volcano calls a group of 0 completed before it has begun.
        """
        return {
            "apiVersion": "scheduling.volcano.sh/v1beta1",
            "kind": "PodGroup",
            "metadata": child_metadata(service, names.gang(service.name)),
            "spec": {
                "minMember": max(1, sum(member.pods for member in members)),
                "subGroupPolicy": [_sub_group(member) for member in members],
                **({} if service.gang is None else _wishes(service.gang)),
            },
        }


VOLCANO = Volcano()


def _sub_group(member: Member) -> Manifest:
    """The copies of one role: pods of one index are one copy, and it has a node for all of them or for none."""
    return {
        "name": member.role,
        "labelSelector": {"matchLabels": {names.ROLE_LABEL: member.role}},
        "matchLabelKeys": [_COPY_OF_ONE_NODE if member.nodes == 1 else _COPY_OF_SEVERAL_NODES],
        "subGroupSize": member.nodes,
        "minSubGroups": member.needed,
    }


_COPY_OF_ONE_NODE = "apps.kubernetes.io/pod-index"
_COPY_OF_SEVERAL_NODES = "leaderworkerset.sigs.k8s.io/group-index"
"""Labels that tell copies apart (StatefulSet since Kubernetes 1.28; LWS v0.9)."""


def _wishes(gang: Gang) -> dict[str, Any]:
    """What the user said of the gang as a whole; Volcano fills in the rest."""
    topology = gang.network_topology
    wishes: dict[str, Any] = {"queue": gang.queue, "priorityClassName": gang.priority_class_name}
    if topology is not None:
        near = {"mode": topology.mode, "highestTierAllowed": topology.highest_tier_allowed}
        wishes["networkTopology"] = {key: value for key, value in near.items() if value is not None}
    return {key: value for key, value in wishes.items() if value is not None}
