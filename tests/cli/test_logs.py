"""`fusioninfer logs`: whose, and how they are printed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from fusioninfer.cli.logs import NOTHING, SAID, Source, Wanted, lines, logs, prefixed, sources_of
from fusioninfer.cli.look import Missing
from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import JSON, Request
from fusioninfer.reconcile.snapshot import PODS
from tests import make
from tests.cli import seen
from tests.cli.asked import Asked, a_cluster
from tests.cli.seen import a_console

SIDECAR = {"name": "sidecar", "image": "x"}


def pods(*workloads: str) -> tuple[dict[str, Any], ...]:
    return tuple(make.a_ready_pod(workload=f"qwen-{workload}") for workload in workloads)


def test_of_a_role_the_engines_container_is_meant() -> None:
    template = make.a_template(SIDECAR, make.a_container(name="server"))
    looked = seen.looked(make.a_role(template=template), pods=pods("inference"))

    assert sources_of(looked, "inference", "") == (Source("default", "qwen-inference-0", "server"),)
    assert sources_of(looked, "inference", "sidecar") == (Source("default", "qwen-inference-0", "sidecar"),)


def test_of_a_router_the_pickers_container_is_meant() -> None:
    looked = seen.looked(make.a_role(), make.a_router(), pods=pods("inference", "entry"))

    assert [(one.pod, one.container) for one in sources_of(looked, "entry", "")] == [("qwen-entry-0", "epp")]


def test_without_a_role_all_engines_are_meant_and_no_router() -> None:
    looked = seen.looked(*make.prefill_and_decode(), make.a_router(), pods=pods("prefill", "decode", "entry"))

    assert [one.pod for one in sources_of(looked, "", "")] == ["qwen-prefill-0", "qwen-decode-0"]


def test_of_a_spec_that_makes_no_sense_the_first_container_is_meant() -> None:
    template = make.a_template(SIDECAR, make.a_container())
    looked = seen.looked(make.a_role(template=template, replicas=-1), pods=pods("inference"))

    assert [one.container for one in sources_of(looked, "", "")] == ["sidecar"]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        pytest.param("nobody", "service qwen has no role nobody; there are inference", id="no such role"),
        pytest.param("", "qwen: there is no pod yet; `fusioninfer explain qwen` says why", id="no pod"),
    ],
)
def test_what_is_not_there_is_said(role: str, words: str) -> None:
    with pytest.raises(Missing, match=words):
        sources_of(seen.looked(), role, "")


def test_pods_that_may_not_be_listed_are_not_passed_off_as_none() -> None:
    with pytest.raises(Missing, match="qwen: cannot list pods"):
        sources_of(seen.looked(unread={"Pod": "cannot list pods"}), "", "")


def test_what_is_wanted_of_a_log_is_asked_for() -> None:
    request = Source("llm", "a-0", "engine").request(Wanted(follow=True, tail=5, previous=True))

    assert request.path == "/api/v1/namespaces/llm/pods/a-0/log"
    assert request.query == {"container": "engine", "follow": "true", "previous": "true", "tailLines": "5"}
    assert Source("llm", "a-0", "engine").request(Wanted()).query == {"container": "engine"}


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_lines_are_whole_however_they_arrive_and_the_last_may_lack_its_end() -> None:
    assert [line async for line in lines(_pieces(b"a", b"b\nc", b"\n\xff\nlast"))] == ["ab", "c", "�", "last"]


def test_a_pod_always_has_the_same_colour() -> None:
    first, second = prefixed("a-0", "one"), prefixed("a-0", "two")

    assert str(first) == "a-0 one"
    assert first.spans == second.spans


class Speaking(Asked):
    """Pods that say their own name; one of them has no log."""

    silent = ""

    async def pieces(self, request: Request) -> AsyncIterator[bytes]:
        pod = request.path.split("/")[-2]
        if pod == self.silent:
            raise errors.Refused(errors.Status(code=400, message="container is waiting to start"))
        yield f"I am {pod}\n".encode()


async def speaking(*names: str, silent: str = "") -> Speaking:
    cluster = await a_cluster(make.raw_service(make.a_role(replicas=len(names))))
    for pod in pods(*["inference"] * len(names)):
        number = len(await _names(cluster))
        manifest = {**pod, "apiVersion": "v1", "kind": "Pod"}
        metadata = {**pod["metadata"], "name": names[number], "ownerReferences": []}
        body = msgspec.json.encode({**manifest, "metadata": metadata})
        await cluster.kube.send(Request("POST", PODS.path("default"), body=body, content_type=JSON))
    kube = Speaking(cluster.kube)
    kube.silent = silent
    return kube


async def _names(cluster: Asked) -> list[str]:
    page = msgspec.json.decode(await cluster.kube.send(requests.list_page(PODS, "default")))
    return [item["metadata"]["name"] for item in page["items"]]


async def printed(kube: Speaking) -> tuple[int, str, str]:
    said, complaints = a_console(), a_console()
    with said.capture() as captured, complaints.capture() as complained:
        code = await logs(kube, said, complaints, "default", "qwen", "", Wanted())
    return code, captured.get(), complained.get()


async def test_of_one_pod_the_lines_stand_alone() -> None:
    assert await printed(await speaking("a-0")) == (SAID, "I am a-0\n", "")


async def test_of_several_pods_each_line_says_whose_it_is() -> None:
    assert (await printed(await speaking("a-0", "a-1")))[1] == "a-0 I am a-0\na-1 I am a-1\n"


async def test_a_pod_without_a_log_is_said_and_the_others_are_read() -> None:
    code, said, complained = await printed(await speaking("a-0", "a-1", silent="a-0"))

    assert (code, said) == (SAID, "a-1 I am a-1\n")
    assert complained == "a-0: container is waiting to start\n"


async def test_no_log_at_all_is_a_failure() -> None:
    assert (await printed(await speaking("a-0", silent="a-0")))[0] == NOTHING
