"""Whatever template a user writes: once it is applied, nothing is left to do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.kube import requests
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import from_kubeconfig
from fusioninfer.reconcile.plan import Plan, plan_changes, signed
from fusioninfer.reconcile.snapshot import CHILDREN
from tests import make
from tests.properties.templates import pod_templates

pytestmark = pytest.mark.cluster

TEMPLATES = 500
LWS_TEMPLATES = ("leaderTemplate", "workerTemplate")


@pytest.fixture(scope="module")
def dry_run(kubeconfig: Path) -> Iterator[DryRun]:
    """The real API server, asked what would come of it."""
    with asyncio.Runner() as runner:
        client = runner.run(_connected(kubeconfig))
        yield DryRun(runner, client)
        runner.run(client.close())


async def _connected(kubeconfig: Path) -> Client:
    return Client(from_kubeconfig(kubeconfig))


@dataclasses.dataclass(frozen=True, slots=True)
class DryRun:
    """Applies without keeping anything."""

    runner: asyncio.Runner
    client: Client

    def __call__(self, manifest: Manifest) -> Manifest:
        """What the API server would hold after the apply: admitted, defaulted, with who holds which field."""
        request = requests.apply(CHILDREN[manifest["apiVersion"], manifest["kind"]], manifest, manager="fusioninfer")
        dry = dataclasses.replace(request, query={**request.query, "dryRun": "All"})
        live: Manifest = msgspec.json.decode(self.runner.run(self.client.send(dry)))
        return live


@pytest.mark.parametrize("nodes", [1, 2])
@settings(
    max_examples=TEMPLATES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(template=pod_templates())
def test_after_any_template_was_applied_nothing_is_left_to_do(
    template: Manifest, nodes: int, dry_run: DryRun
) -> None:  # fmt: skip
    """On one node a StatefulSet's schema and defaults are met, on two those of LeaderWorkerSet's CRD and webhook."""
    several = {"engine": "custom", "multinode": {"nodeCount": 2, "workerTemplate": template}} if nodes > 1 else {}
    raw = make.raw_service(make.a_role(template=template, **several))
    desired = desired_objects(parse(raw), make.ENGINES, make.STRATEGIES)

    live = tuple(dry_run(signed(manifest)) for manifest in desired.manifests)

    assert plan_changes(desired, make.a_snapshot(raw, children=live)) == Plan()
    words = [container.get("args") or [] for container in template["spec"]["containers"]]
    spec = live[1]["spec"]
    for stored in [spec["template"]] if nodes == 1 else [spec["leaderWorkerTemplate"][k] for k in LWS_TEMPLATES]:
        assert [container.get("args") or [] for container in stored["spec"]["containers"]] == words


def test_characters_that_yaml_reads_otherwise_arrive_as_they_were_written(dry_run: DryRun) -> None:
    odd = 'a\x7fb\x85c\x9fd\u2028e\u2029f\ufeffg\uffffh\n\t"\'\\ $(X) {"j": 1} 🙂'
    template = make.a_template(make.a_container(args=[odd], env=[{"name": "ODD", "value": odd}]))
    desired = desired_objects(parse(make.raw_service(make.a_role(template=template))), make.ENGINES, make.STRATEGIES)

    live = dry_run(signed(desired.roles[0].workload))

    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [odd, "--shutdown-timeout", "40"]
    assert container["env"][0]["value"] == odd
