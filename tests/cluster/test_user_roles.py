"""What those may do with InferenceServices who have Kubernetes' own roles in a namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from fusioninfer.api import types
from fusioninfer.daemon.rbac import user_roles
from tests.cluster.harness import Namespace

pytestmark = pytest.mark.cluster

SEE = {"get", "list", "watch"}
CHANGE = {"create", "update", "patch", "delete", "deletecollection"}


@pytest.fixture
def shared(namespace: Namespace) -> Iterator[Namespace]:
    """A namespace in which a user called after each of the roles has it."""
    roles = user_roles()
    namespace.kubectl.apply(roles)
    for user in ("view", "edit", "admin"):
        namespace("create", "rolebinding", user, f"--clusterrole={user}", f"--user={user}")
    yield namespace
    for role in roles:
        namespace.kubectl("delete", "clusterrole", role["metadata"]["name"])


def may(namespace: Namespace, user: str, *, subresource: str = "") -> set[str]:
    kubectl = namespace.kubectl
    return {
        verb
        for verb in SEE | CHANGE
        if subprocess.run(
            [kubectl.program, "--kubeconfig", kubectl.kubeconfig, "-n", namespace.name, "auth", "can-i", "--as", user,
             verb, f"{types.PLURAL}.{types.GROUP}", *([f"--subresource={subresource}"] if subresource else [])],
            capture_output=True, text=True,
        ).stdout.strip() == "yes"
    }  # fmt: skip


def test_the_roles_of_a_namespace_hold_for_its_services(shared: Namespace) -> None:
    shared.wait(lambda: sorted(may(shared, "admin")), sorted(SEE | CHANGE).__eq__, "the roles to be joined")

    assert may(shared, "view") == SEE
    assert may(shared, "edit") == SEE | CHANGE
    assert may(shared, "edit", subresource="status") == set()
    assert may(shared, "nobody") == set()
