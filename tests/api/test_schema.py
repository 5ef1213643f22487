"""Fields that there are none of."""

from __future__ import annotations

import pytest

from fusioninfer.api.crd import service_schema
from fusioninfer.api.schema import unknown_fields
from tests import make
from tests.refusals import ACCEPTED, Accepted

SPEC = service_schema()["properties"]["spec"]


@pytest.mark.parametrize("accepted", [pytest.param(accepted, id=accepted.id) for accepted in ACCEPTED])
def test_what_is_accepted_is_known(accepted: Accepted) -> None:
    assert list(unknown_fields(accepted.service["spec"], SPEC, "spec")) == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"replica": 1}, "spec.roles[0].replica"),
        ({"template": make.a_template(nodeSelektor={})}, "spec.roles[0].template.spec.nodeSelektor"),
        (
            {"template": make.a_template(make.a_container(env=[{"name": "A", "valu": "b"}]))},
            "spec.roles[0].template.spec.containers[0].env[0].valu",
        ),
    ],
)
def test_a_slip_of_the_pen_is_named_by_its_path(fields: dict[str, object], path: str) -> None:
    raw = make.raw_service(make.a_role(**fields))

    assert list(unknown_fields(raw["spec"], SPEC, "spec")) == [path]
