"""Rights: no more than what is said, and without wildcards."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.daemon import rbac

MANIFESTS = rbac.install_manifests("system", "lease")


def rules() -> list[dict[str, Any]]:
    return [rule for manifest in MANIFESTS for rule in manifest.get("rules", ())]


def one(kind: str) -> dict[str, Any]:
    (found,) = (manifest for manifest in MANIFESTS if manifest["kind"] == kind)
    return found


def test_no_rule_has_a_wildcard() -> None:
    words = [word for rule in rules() for part in rule.values() for word in part]

    assert words
    assert not [word for word in words if "*" in word]


def test_nothing_that_hands_on_rights_is_granted() -> None:
    assert not {verb for _, _, verb in rbac.granted()} & {"escalate", "bind", "impersonate", "deletecollection"}


@pytest.mark.parametrize("resource", ["secrets", "nodes", "configmaps", "pods/exec", "pods/log", "serviceaccounts"])
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
