"""How long a pod's end takes, and what of it is whose."""

from __future__ import annotations

import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.build.ending import drain_seconds, finish_seconds, grace_seconds


@pytest.mark.parametrize(
    ("grace", "drain", "finish"),
    [
        pytest.param(None, 5, 40, id="ours"),
        pytest.param(300, 5, 280, id="long"),
        pytest.param(30, 5, 10, id="Kubernetes' own"),
        pytest.param(8, 4, 1, id="short"),
        pytest.param(1, 0, 1, id="hardly any"),
        pytest.param(0, 0, 1, id="none"),
    ],
)
def test_the_end_is_shared_by_drain_requests_and_cleaning_up(grace: int | None, drain: int, finish: int) -> None:
    spec: Manifest = {} if grace is None else {"terminationGracePeriodSeconds": grace}

    assert grace_seconds(spec) == (60 if grace is None else grace)
    assert drain_seconds(spec, "decoder") == drain
    assert finish_seconds(spec, {}, "decoder") == finish


def test_the_users_sleep_counts_in_place_of_ours() -> None:
    assert finish_seconds({}, {"lifecycle": {"preStop": {"sleep": {"seconds": 20}}}}, "worker") == 25
    assert finish_seconds({}, {"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}, "worker") == 40


@pytest.mark.parametrize(
    ("grace", "drain", "finish"), [(None, 30, 15), (300, 35, 250), (8, 4, 1)], ids=["ours", "long", "short"]
)
def test_a_prefiller_waits_until_what_it_computed_was_fetched(grace: int | None, drain: int, finish: int) -> None:
    spec: Manifest = {} if grace is None else {"terminationGracePeriodSeconds": grace}

    assert drain_seconds(spec, "prefiller") == drain
    assert finish_seconds(spec, {}, "prefiller") == finish
