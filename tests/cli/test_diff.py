"""`fusioninfer diff`: what is asked, what is printed, and that nothing is written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.cli.diff import DIFFERENT, SAME, diff
from fusioninfer.cli.look import Missing
from fusioninfer.kube import requests
from fusioninfer.reconcile.plan import signed
from fusioninfer.reconcile.snapshot import CHILDREN, SERVICES
from tests import make, virtual
from tests.cli.asked import Asked, a_cluster
from tests.cli.seen import a_console


async def printed(cluster: Asked, raw: Manifest) -> tuple[int, str]:
    console = a_console()
    with console.capture() as captured:
        code = await diff(cluster, console, [raw], make.ENGINES, make.STRATEGIES, "default")
    return code, captured.get()


def a_file(*roles: Manifest, **spec: Any) -> Manifest:
    """A service as a file has it."""
    raw = make.raw_service(*roles, **spec)
    return {**raw, "metadata": {"name": "qwen"}}


async def with_children(raw: Manifest) -> Asked:
    """A cluster where the operator has made all of `raw`."""
    cluster = await a_cluster(make.raw_service(*raw["spec"]["roles"]))
    live = await cluster.kube.send(requests.get(SERVICES, "default", "qwen"))
    uid = msgspec.json.decode(live)["metadata"]["uid"]
    for manifest in make.desired(*raw["spec"]["roles"]).manifests:
        sent = signed(manifest)
        (owner,) = sent["metadata"]["ownerReferences"]
        sent["metadata"] |= {"ownerReferences": [{**owner, "uid": uid}]}
        resource = CHILDREN[sent["apiVersion"], sent["kind"]]
        await cluster.kube.send(requests.apply(resource, sent, manager="fusioninfer"))
    return cluster


def test_a_new_service_is_different_and_nothing_is_written() -> None:
    async def story() -> None:
        cluster = await a_cluster()

        code, text = await printed(cluster, a_file())

        assert code == DIFFERENT
        assert text.splitlines()[:3] == [
            "default/qwen",
            "  + create Service qwen",
            "  + create StatefulSet qwen-inference",
        ]
        assert {path.split()[0] for path in cluster.paths} == {"GET"}

    virtual.run(story())


def test_the_same_file_again_is_no_difference() -> None:
    async def story() -> None:
        cluster = await with_children(a_file())

        assert await printed(cluster, a_file()) == (SAME, "default/qwen  no change\n")

    virtual.run(story())


def test_a_field_is_shown_as_it_is_and_as_it_would_be() -> None:
    async def story() -> None:
        cluster = await with_children(a_file())

        code, text = await printed(cluster, a_file(make.a_role(replicas=3)))

        assert code == DIFFERENT
        assert text.splitlines() == [
            "default/qwen",
            "  ~ change StatefulSet qwen-inference",
            "      spec.replicas: 1 → 3",
        ]

    virtual.run(story())


def with_gpus() -> Manifest:
    container = make.a_container(resources={"limits": {"nvidia.com/gpu": 8}})
    return a_file(make.a_role(template=make.a_template(container)))


def test_gpus_of_nodes_that_may_not_be_listed_are_not_known() -> None:
    async def story() -> None:
        cluster = await a_cluster(forbidden=["nodes"])

        _, text = await printed(cluster, with_gpus())

        assert (
            "devices  asks for 8 nvidia.com/gpu (1 pod x 8); what is free may not be known: nodes: cannot list" in text
        )

    virtual.run(story())


def test_a_cluster_without_our_kind_says_so() -> None:
    async def story() -> None:
        await printed(await a_cluster(unserved=[SERVICES.plural]), a_file())

    with pytest.raises(Missing, match="FusionInfer is not installed"):
        virtual.run(story())
