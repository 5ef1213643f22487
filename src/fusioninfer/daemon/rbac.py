"""The rights that the operator ships with, each with the reason for it. No more than the code uses, and no wildcard.

Server-side apply asks for `patch`, and for `create` too if the object is absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fusioninfer.api import names, types
from fusioninfer.build.router.releases import releases

Manifest = dict[str, Any]

API_GROUP = "rbac.authorization.k8s.io"
NAME = "fusioninfer"
"""Of every object here, the Lease and the ServiceAccount among them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on the resources of one API group."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str
    names: tuple[str, ...] = ()
    """Of the resources that are meant; empty: all."""


PICKER_ROLE = names.PICKER_ROLE
METRICS_READER = f"{NAME}-metrics-reader"
"""The ClusterRole of those who may read the operator's metrics; the installation brings it, and binds nobody."""
METRICS_PATH = "/metrics"


def _child(group: str, resource: str, reason: str) -> Rule:
    """On a kind of child; get: to learn who holds a name that is taken."""
    return Rule(group, (resource,), ("get", "list", "watch", "create", "patch", "delete"), reason)


RULES = (
    Rule(types.GROUP, (types.PLURAL,), ("list", "watch"), "what users ask for"),
    Rule(types.GROUP, (f"{types.PLURAL}/status",), ("patch",), "what is so"),
    Rule(
        types.GROUP, (f"{types.PLURAL}/finalizers",), ("update",),
        "children block the deletion of their owner, which admission may restrict to those who could do it themselves",
    ),
    _child("apps", "statefulsets", "roles"),
    _child("leaderworkerset.x-k8s.io", "leaderworkersets", "roles whose copies have several nodes"),
    _child("apps", "deployments", "routers"),
    _child("", "serviceaccounts", "who a picker is"),
    _child(API_GROUP, "rolebindings", "what a picker may read, in its own namespace"),
    Rule(API_GROUP, ("clusterroles",), ("bind",), "to bind the pickers' ClusterRole, and no other", (PICKER_ROLE,)),
    _child("policy", "poddisruptionbudgets", "routers of several pods"),
    _child("inference.networking.k8s.io", "inferencepools", "the pods among which a picker picks"),
    _child("gateway.networking.k8s.io", "httproutes", "which requests gateways lead here; others' for who is first"),
    _child("gateway.networking.k8s.io", "gateways", "gateways that a service is to have of its own"),
    _child("networking.gke.io", "healthcheckpolicies", "how GKE's gateways ask engines whether they are well"),
    _child("networking.gke.io", "gcpbackendpolicies", "how long GKE's gateways wait for an answer"),
    _child("networking.istio.io", "destinationrules", "how Istio's gateways speak to a picker"),
    _child("scheduling.volcano.sh", "podgroups", "gangs"),
    _child("", "services", "entries; delete: admission may let those alone set an owner who may delete the child"),
    Rule("", ("pods",), ("list", "watch"), "how the copies of a role are"),
    Rule("", ("events",), ("create", "patch"), "what users are told"),
    Rule("authentication.k8s.io", ("tokenreviews",), ("create",), "who asks for the metrics"),
    Rule("authorization.k8s.io", ("subjectaccessreviews",), ("create",), "whether they may read them"),
)  # fmt: skip
"""In every namespace."""

LEASE_RULES = (Rule("coordination.k8s.io", ("leases",), ("get", "watch", "create", "patch"), "one leader at a time"),)
"""On one Lease, in the operator's own namespace."""


def service_account(namespace: str) -> Manifest:
    """Who the operator is."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(namespace)}


def cluster_role() -> Manifest:
    """What it may do everywhere."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(),
        "rules": [_written(rule) for rule in RULES],
    }


def picker_role() -> Manifest:
    """What pickers may do where they are bound to it."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": PICKER_ROLE},
        "rules": [_written(rule) for rule in _picker_rules()],
    }


def metrics_reader() -> Manifest:
    """What who reads the metrics is asked for (access.TokenReview)."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": METRICS_READER},
        "rules": [{"nonResourceURLs": [METRICS_PATH], "verbs": ["get"]}],
    }


def user_roles() -> tuple[Manifest, ...]:
    """What who may view, edit or administer a namespace may do with the services in it (RBAC's aggregated roles).

    Not the status: that is the operator's. Admins get what editors get, and no more.
    """
    return (
        _aggregated("view", ("get", "list", "watch"), "view", "edit", "admin"),
        _aggregated("edit", ("create", "update", "patch", "delete", "deletecollection"), "edit", "admin"),
    )


def _aggregated(name: str, verbs: tuple[str, ...], *into: str) -> Manifest:
    rule = Rule(types.GROUP, (types.PLURAL,), verbs, "")
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"{NAME}-{name}", "labels": {f"{API_GROUP}/aggregate-to-{role}": "true" for role in into}},
        "rules": [_written(rule)],
    }


def _picker_rules() -> Iterable[Rule]:
    """What the pickers of all releases read."""
    read: dict[str, dict[str, None]] = {}
    verbs: dict[str, None] = {}
    for release in releases().values():
        for rule in release.rules:
            for group in rule.api_groups:
                read.setdefault(group, {}).update(dict.fromkeys(rule.resources))
            verbs.update(dict.fromkeys(rule.verbs))
    return (Rule(group, tuple(resources), tuple(verbs), "pickers") for group, resources in sorted(read.items()))


def cluster_role_binding(namespace: str) -> Manifest:
    """Gives `cluster_role` to the ServiceAccount in `namespace`."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(),
        **_binds("ClusterRole", namespace),
    }


def role(namespace: str, lease_name: str = NAME) -> Manifest:
    """What it may do in its own namespace."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "Role",
        "metadata": _metadata(namespace),
        "rules": [{**_written(rule), "resourceNames": [lease_name]} for rule in LEASE_RULES],
    }


def role_binding(namespace: str) -> Manifest:
    """Gives `role` to the ServiceAccount in `namespace`."""
    return {
        "apiVersion": f"{API_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(namespace),
        **_binds("Role", namespace),
    }


def install_manifests(namespace: str, lease_name: str = NAME) -> tuple[Manifest, ...]:
    """All that an operator in `namespace` needs to be allowed what it does, in the order in which to apply it."""
    return (
        service_account(namespace),
        cluster_role(),
        picker_role(),
        metrics_reader(),
        cluster_role_binding(namespace),
        role(namespace, lease_name),
        role_binding(namespace),
    )


def granted(rules: Iterable[Rule] = RULES + LEASE_RULES) -> frozenset[tuple[str, str, str]]:
    """Every right as (API group, resource, verb), as an audit log names what was used."""
    return frozenset(
        (rule.group, resource, verb) for rule in rules for resource in rule.resources for verb in rule.verbs
    )


def _metadata(namespace: str = "") -> Manifest:
    return {"name": NAME, **({"namespace": namespace} if namespace else {})}


def _written(rule: Rule) -> Manifest:
    written: Manifest = {"apiGroups": [rule.group], "resources": list(rule.resources), "verbs": list(rule.verbs)}
    return {**written, "resourceNames": list(rule.names)} if rule.names else written


def _binds(kind: str, namespace: str) -> Manifest:
    return {
        "roleRef": {"apiGroup": API_GROUP, "kind": kind, "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }
