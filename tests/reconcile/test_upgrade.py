"""What an earlier release left in clusters, and that today's operator restarts none of it.

`objects.json` is what stood in a real API server after 0.1.0 had made it. It is never changed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import desired_objects
from fusioninfer.reconcile import ownership
from fusioninfer.reconcile.plan import plan_changes
from fusioninfer.reconcile.snapshot import Snapshot
from tests import make

FIXTURES = Path(__file__).parent.parent / "fixtures"


def left_behind(release: str) -> tuple[Manifest, dict[str, Manifest]]:
    """The service, and its children by kind."""
    objects = json.loads((FIXTURES / release / "objects.json").read_text())
    by_kind = {live["kind"]: live for live in objects}
    return by_kind.pop("InferenceService"), by_kind


@pytest.mark.parametrize("release", sorted(path.name for path in FIXTURES.iterdir()))
def test_what_an_earlier_release_made_keeps_its_pod_template(release: str) -> None:
    service, children = left_behind(release)
    snapshot: Snapshot = make.a_snapshot(service, children=tuple(children.values()))

    plan = plan_changes(desired_objects(parse(service), make.ENGINES, make.STRATEGIES), snapshot)

    live = children["StatefulSet"]
    held = live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]
    assert not plan.deletes
    assert not plan.taken
    for step in plan.applies:
        if step.resource.kind == "StatefulSet":
            assert step.manifest["spec"]["template"] == ownership.held_part(live["spec"]["template"], held)


def test_this_release_leaves_its_own_objects_alone() -> None:
    service, children = left_behind("0.1.0")
    snapshot = make.a_snapshot(service, children=tuple(children.values()))

    assert plan_changes(desired_objects(parse(service), make.ENGINES, make.STRATEGIES), snapshot).is_empty


def test_the_fixture_was_made_by_us() -> None:
    _, children = left_behind("0.1.0")

    assert children["StatefulSet"]["metadata"]["managedFields"][0]["manager"] == names.MANAGER
