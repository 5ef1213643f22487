"""What is asked of a cluster: how much, and what may be missing."""

from __future__ import annotations

import pytest

from fusioninfer.cli.look import Missing, listed, look
from fusioninfer.cli.status import SHOWN
from fusioninfer.reconcile.snapshot import CHILDREN, PODS, SERVICES
from tests import make, virtual
from tests.cli.asked import CALL_SECONDS, Asked, a_cluster


def test_a_status_among_a_thousand_services_takes_six_requests_at_the_same_time() -> None:
    async def story() -> tuple[Asked, float]:
        cluster = await a_cluster(make.raw_service(), many=1000)
        began = virtual.clock()
        await look(cluster, "default", "qwen", SHOWN)
        return cluster, virtual.clock() - began

    cluster, seconds = virtual.run(story())

    assert len(cluster.paths) == 6
    assert not any("other" in path for path in cluster.paths)
    assert seconds == pytest.approx(CALL_SECONDS)


def test_a_service_that_is_not_there_is_named_with_what_to_do() -> None:
    async def story() -> None:
        await look(await a_cluster(), "default", "nobody", SHOWN)

    with pytest.raises(Missing, match='inferenceservices "nobody" not found in namespace default; `fusioninfer status'):
        virtual.run(story())


def test_a_cluster_without_our_kind_is_told_from_one_without_the_service() -> None:
    async def story() -> None:
        await look(await a_cluster(unserved=[SERVICES.plural]), "default", "qwen", SHOWN)

    with pytest.raises(Missing, match="FusionInfer is not installed; `fusioninfer check`"):
        virtual.run(story())


def test_what_may_not_be_read_is_said_and_the_rest_is_there() -> None:
    async def story() -> None:
        cluster = await a_cluster(make.raw_service(), forbidden=["pods"], unserved=["podgroups"])

        seen = await look(cluster, "default", "qwen", SHOWN)

        assert seen.service.metadata.name == "qwen"
        assert seen.unread == {"Pod": "cannot list resource 'pods'"}
        assert seen.unserved == {"PodGroup"}

    virtual.run(story())


def test_all_pages_of_a_list_are_read() -> None:
    async def story() -> None:
        cluster = await a_cluster(many=501)

        assert len((await listed(cluster, SERVICES, "")).items) == 501
        assert len(cluster.paths) == 2

    virtual.run(story())


def test_the_kinds_that_are_shown_are_children_of_ours() -> None:
    assert set(SHOWN) < set(CHILDREN.values())
    assert PODS not in SHOWN  # which are asked for anyway
