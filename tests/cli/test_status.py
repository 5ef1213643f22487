"""`fusioninfer status`: how long it looks, and what it prints."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.cli.look import Missing
from fusioninfer.cli.status import NOT_READY, READY, Following, Output, show, show_all
from fusioninfer.kube import requests
from fusioninfer.reconcile.snapshot import SERVICES
from tests import make, virtual
from tests.cli import seen
from tests.cli.asked import Asked, a_cluster
from tests.cli.seen import a_console


def with_status(**status: Any) -> Manifest:
    """A service with the status that the operator would write of it."""
    looked = seen.looked(**status)
    return {**make.raw_service(), "status": msgspec.json.decode(looked.service.status)}


READY_NOW = with_status(pods=(make.a_ready_pod(),))
LOADING = with_status(pods=(make.a_waiting_pod(reason="ContainerCreating"),))


async def becomes_ready(cluster: Asked, after_seconds: float) -> None:
    await asyncio.sleep(after_seconds)
    metadata = {"name": "qwen", "namespace": "default"}
    told = {"apiVersion": "fusioninfer.io/v1alpha1", "kind": "InferenceService", "metadata": metadata}
    request = requests.apply(
        SERVICES, {**told, "status": READY_NOW["status"]}, manager="operator", subresource="status"
    )
    await cluster.kube.send(request)


async def printed(cluster: Asked, following: Following, output: Output | None = None) -> tuple[int, list[str]]:
    console = a_console()
    with console.capture() as captured:
        code = await show(cluster, console, "default", "qwen", output, following)
    return code, captured.get().splitlines()


def test_it_waits_until_the_service_is_ready_and_says_what_changes() -> None:
    async def story() -> tuple[int, list[str], float]:
        cluster = await a_cluster(LOADING)
        waiting = asyncio.create_task(becomes_ready(cluster, 7))
        code, lines = await printed(cluster, Following(watch=True, until_ready=True))
        await waiting
        return code, lines, virtual.clock()

    code, lines, seconds = virtual.run(story())

    assert code == READY
    assert [line.split()[0] for line in lines[:2]] == ["Ready=False", "Ready=True"]
    assert lines[2] == "qwen  Ready  http://qwen.default.svc"
    assert 7 <= seconds < 9


def test_it_waits_no_longer_than_it_is_told() -> None:
    async def story() -> tuple[int, float]:
        code, _ = await printed(await a_cluster(LOADING), Following(watch=True, until_ready=True, seconds=10))
        return code, virtual.clock()

    code, seconds = virtual.run(story())

    assert code == NOT_READY
    assert 10 <= seconds < 13


def test_while_nothing_changes_little_is_asked() -> None:
    async def story() -> Asked:
        cluster = await a_cluster(LOADING)
        await printed(cluster, Following(watch=True, until_ready=True, seconds=21))
        return cluster

    paths = virtual.run(story()).paths

    of_pods = sum("/pods" in path for path in paths)
    assert of_pods <= 5
    assert len(paths) - 6 * of_pods <= 21 / 0.5


@pytest.mark.parametrize(("service", "code"), [(READY_NOW, READY), (LOADING, NOT_READY)], ids=["ready", "loading"])
def test_without_a_watch_it_looks_once(service: Manifest, code: int) -> None:
    async def story() -> None:
        cluster = await a_cluster(service)

        assert (await printed(cluster, Following(until_ready=True)))[0] == code
        assert (await printed(cluster, Following()))[0] == READY
        assert len(cluster.paths) == 12

    virtual.run(story())


async def table(cluster: Asked, namespace: str, output: Output | None = None) -> list[str]:
    console = a_console()
    with console.capture() as captured:
        assert await show_all(cluster, console, namespace, output) == READY
    return captured.get().splitlines()


def test_all_services_are_a_table_of_one_request() -> None:
    async def story() -> None:
        cluster = await a_cluster(READY_NOW, many=2)

        lines = await table(cluster, "default")

        assert [line.split()[:2] for line in lines[1:]] == [
            ["other-0", "Unknown"],
            ["other-1", "Unknown"],
            ["qwen", "True"],
        ]
        assert len(cluster.paths) == 1
        assert (await table(cluster, ""))[0].split()[0] == "NAMESPACE"
        assert await table(cluster, "elsewhere") == ["no InferenceService in namespace elsewhere"]

    virtual.run(story())


@pytest.mark.parametrize(
    ("forbidden", "unserved", "words"),
    [
        pytest.param([SERVICES.plural], [], "cannot list resource 'inferenceservices'", id="no right"),
        pytest.param([], [SERVICES.plural], "FusionInfer is not installed", id="not installed"),
    ],
)
def test_a_table_that_cannot_be_had_says_why(forbidden: list[str], unserved: list[str], words: str) -> None:
    async def story() -> None:
        await table(await a_cluster(forbidden=forbidden, unserved=unserved), "default")

    with pytest.raises(Missing, match=words):
        virtual.run(story())
