"""The rights that ship are those that are used: none is missing, and none is too many.

The evidence is the audit log: these tests come after those that make the operator do all that it can do.
"""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path

import pytest

from fusioninfer.daemon import rbac
from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import Manifest

pytestmark = pytest.mark.cluster

INVISIBLE = {
    ("fusioninfer.io", "inferenceservices/finalizers", "update"),
    ("rbac.authorization.k8s.io", "clusterroles", "bind"),
}
"""Asked of the authorizer in no request of ours: by an admission plug-in (OwnerReferencesPermissionEnforcement) when
children are made that hold up their owner's deletion; and when a role is bound."""


RIGHTS = {"clusterroles", "clusterrolebindings", "roles", "rolebindings"}


def requests_of_the_operator(audit_log: Path) -> list[Manifest]:
    """Those that it made while its rights were there: `helm uninstall` takes them before the operator has ended."""
    lines = [json.loads(line) for line in audit_log.read_text().splitlines()]
    gone, made = set[str](), list[Manifest]()
    for line in sorted(lines, key=itemgetter("requestReceivedTimestamp")):
        what = line.get("objectRef", {})
        if what.get("resource") in RIGHTS and what.get("name") == rbac.NAME and line["verb"] != "get":
            change = set.add if line["verb"] == "delete" else set.discard
            change(gone, what["resource"])
        elif line["user"].get("username") == OPERATOR and not gone:  # a refused token names no user
            made.append(line)
    return made


def right(entry: Manifest) -> tuple[str, str, str]:
    reference = entry["objectRef"]
    subresource = f"/{reference['subresource']}" if "subresource" in reference else ""
    return reference.get("apiGroup", ""), reference["resource"] + subresource, entry["verb"]


def test_no_right_is_missing(audit_log: Path) -> None:
    entries = requests_of_the_operator(audit_log)
    # A 403 may also come from admission: of a quota, or of a namespace that is being deleted.
    denied = [entry for entry in entries if entry["annotations"].get("authorization.k8s.io/decision") == "forbid"]

    assert entries
    assert [f"{right(entry)}: {entry['responseStatus'].get('message')}" for entry in denied] == []


def test_no_right_is_granted_that_is_not_used(audit_log: Path) -> None:
    entries = requests_of_the_operator(audit_log)
    used = {right(entry) for entry in entries}
    # Server-side apply of an object that is absent asks for `create` besides.
    used |= {
        (group, kind, "create") for group, kind, verb in map(right, entries) if verb == "patch" and "/" not in kind
    }

    assert rbac.granted() - used == INVISIBLE
