"""`fusioninfer lint` beside a real API server: offline it refuses what that refuses, and of the schema nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from fusioninfer.api import types
from fusioninfer.api.service import Manifest
from fusioninfer.cli.lint import by_the_server, refusals
from tests import make
from tests.refusals import ACCEPTED, REFUSALS
from tools.operator_process import Kubectl

pytestmark = pytest.mark.cluster

SERVICES = f"/apis/{types.GROUP}/{types.VERSION}/namespaces/default/{types.PLURAL}"
CASES: dict[str, Manifest] = {
    **{case.id: case.service for case in REFUSALS},
    **{case.id: case.service for case in ACCEPTED},
}


@pytest.fixture(scope="module")
def refused(installed: Kubectl) -> Mapping[str, bool]:
    """By case, whether the API server refuses it."""
    return dict(_asked(installed))


def _asked(kubectl: Kubectl) -> Iterator[tuple[str, bool]]:
    path = f"{SERVICES}?fieldValidation=Strict&dryRun=All"
    command = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig), "create", "--raw", path, "-f", "-"]
    for name, service in CASES.items():
        done = subprocess.run(command, input=json.dumps(service), capture_output=True, text=True)
        yield name, done.returncode != 0


@pytest.mark.parametrize("case", CASES)
def test_lint_refuses_what_the_api_server_refuses(case: str, refused: Mapping[str, bool]) -> None:
    service = CASES[case]

    if refused[case]:
        assert list(refusals(service, make.ENGINES, make.STRATEGIES))
    else:
        assert list(by_the_server(service)) == []
