"""Rights: no more than what is said, and without wildcards."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.build.router.releases import Release, releases
from fusioninfer.daemon import rbac
from fusioninfer.kube.requests import Resource
from fusioninfer.reconcile.snapshot import CHILDREN, PODS, SERVICES
from tests import make

MANIFESTS = rbac.install_manifests("system", "lease")


def rules() -> list[dict[str, Any]]:
    return [rule for manifest in MANIFESTS for rule in manifest.get("rules", ())]


def one(kind: str) -> dict[str, Any]:
    """The first of that kind; the pickers' role comes after the operator's own."""
    return next(manifest for manifest in MANIFESTS if manifest["kind"] == kind)


def test_no_rule_has_a_wildcard() -> None:
    words = [word for rule in rules() for part in rule.values() for word in part]

    assert words
    assert not [word for word in words if "*" in word]


def test_nothing_that_hands_on_rights_is_granted() -> None:
    assert not {verb for _, _, verb in rbac.granted()} & {"escalate", "impersonate", "deletecollection"}


def test_no_role_but_the_pickers_may_be_bound_and_none_made() -> None:
    binding = [rule for rule in rules() if "bind" in rule["verbs"]]

    assert [rule["resourceNames"] for rule in binding] == [["fusioninfer-endpoint-picker"]]
    assert not {(r, v) for _, r, v in rbac.granted() if r in ("roles", "clusterroles")} - {("clusterroles", "bind")}


@pytest.mark.parametrize("child", CHILDREN.values(), ids=[f"{child.kind}" for child in CHILDREN.values()])
def test_every_kind_of_child_may_be_watched_made_and_deleted(child: Resource) -> None:
    granted = {verb for group, resource, verb in rbac.granted() if (group, resource) == (child.group, child.plural)}

    assert granted == {"get", "list", "watch", "create", "patch", "delete"}


@pytest.mark.parametrize("watched", [SERVICES, PODS], ids=["services", "pods"])
def test_what_is_watched_may_be_listed(watched: Resource) -> None:
    assert {(watched.group, watched.plural, verb) for verb in ("list", "watch")} <= rbac.granted()


def test_the_cluster_role_that_pickers_are_bound_to_is_installed_and_may_be_bound() -> None:
    router = make.desired(make.a_role(), make.a_router()).router
    assert router is not None
    (bound,) = (part["roleRef"]["name"] for part in router.parts if part["kind"] == "RoleBinding")

    assert bound in {one["metadata"]["name"] for one in MANIFESTS if one["kind"] == "ClusterRole"}
    assert [rule.names for rule in rbac.RULES if "bind" in rule.verbs] == [(bound,)]


@pytest.mark.parametrize("release", releases().values(), ids=releases())
def test_every_release_may_read_what_it_watches(release: Release) -> None:
    (picker,) = (one for one in MANIFESTS if one["metadata"]["name"] == "fusioninfer-endpoint-picker")
    granted = {
        (group, resource, verb)
        for rule in picker["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    for reads in release.reads:
        assert {(reads.group, reads.resource, verb) for verb in ("get", "list", "watch")} <= granted


def test_the_operator_itself_has_nothing_of_what_pickers_read_but_the_pool_and_pods() -> None:
    ours = {resource for _, resource, _ in rbac.granted()}

    assert not {"inferenceobjectives", "inferencemodelrewrites"} & ours


def test_a_picker_may_read_and_no_more() -> None:
    (picker,) = (manifest for manifest in MANIFESTS if manifest["metadata"]["name"] == "fusioninfer-endpoint-picker")

    assert {verb for rule in picker["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {resource for rule in picker["rules"] for resource in rule["resources"]} == {
        "pods", "inferencepools", "inferenceobjectives", "inferencemodelrewrites",
    }  # fmt: skip


@pytest.mark.parametrize(
    "resource", ["secrets", "nodes", "configmaps", "pods/exec", "pods/log", "serviceaccounts/token"]
)
def test_what_is_never_looked_at_is_not_granted(resource: str) -> None:
    assert resource not in {granted for _, granted, _ in rbac.granted()}


def test_status_is_written_and_the_spec_is_not() -> None:
    ours = {(resource, verb) for group, resource, verb in rbac.granted() if group == "fusioninfer.io"}

    assert ours == {
        ("inferenceservices", "list"),
        ("inferenceservices", "watch"),
        ("inferenceservices/status", "patch"),
        ("inferenceservices/finalizers", "update"),
    }


def test_the_lease_is_one_in_the_own_namespace() -> None:
    (rule,) = one("Role")["rules"]

    assert rule["resources"] == ["leases"]
    assert rule["resourceNames"] == ["lease"]
    assert one("Role")["metadata"]["namespace"] == one("RoleBinding")["metadata"]["namespace"] == "system"


@pytest.mark.parametrize(("binding", "role"), [("RoleBinding", "Role"), ("ClusterRoleBinding", "ClusterRole")])
def test_bindings_bind_what_there_is(binding: str, role: str) -> None:
    bound = one(binding)

    assert bound["roleRef"]["kind"] == role
    assert bound["roleRef"]["name"] == one(role)["metadata"]["name"]
    account = one("ServiceAccount")["metadata"]
    assert bound["subjects"] == [{"kind": "ServiceAccount", **account}]


def test_every_rule_says_why() -> None:
    assert all(rule.reason for rule in (*rbac.RULES, *rbac.LEASE_RULES))


def test_who_may_read_the_metrics_may_do_nothing_else_and_is_nobody_yet() -> None:
    (reader,) = (one for one in MANIFESTS if one["metadata"]["name"] == "fusioninfer-metrics-reader")

    assert reader["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    assert "fusioninfer-metrics-reader" not in {one["roleRef"]["name"] for one in MANIFESTS if "roleRef" in one}


@pytest.mark.parametrize(
    ("role", "into", "verbs"),
    [
        ("fusioninfer-view", {"view", "edit", "admin"}, {"get", "list", "watch"}),
        ("fusioninfer-edit", {"edit", "admin"}, {"create", "update", "patch", "delete", "deletecollection"}),
    ],
)
def test_who_may_see_or_change_a_namespace_may_do_so_with_its_services(
    role: str, into: set[str], verbs: set[str]
) -> None:
    (found,) = (one for one in rbac.user_roles() if one["metadata"]["name"] == role)
    (rule,) = found["rules"]

    assert set(found["metadata"]["labels"]) == {f"rbac.authorization.k8s.io/aggregate-to-{name}" for name in into}
    assert (rule["apiGroups"], rule["resources"], set(rule["verbs"])) == (
        ["fusioninfer.io"],
        ["inferenceservices"],
        verbs,
    )
