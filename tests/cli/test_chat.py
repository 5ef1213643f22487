"""`fusioninfer chat`: whom it asks, and how it reads the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from fusioninfer.cli.chat import Door, Entry, Serving, Silent, Talk, complaint, door, first_model, port_of, words
from fusioninfer.cli.look import Missing
from fusioninfer.kube import requests
from fusioninfer.kube.requests import JSON, Request
from fusioninfer.reconcile.snapshot import ENTRIES, PODS
from tests import make
from tests.cli.asked import Asked, a_cluster

# --- whom ---------------------------------------------------------------------------------------------------------


async def with_entry(*roles: Any, pods: tuple[Any, ...] = (), **limits: Any) -> Asked:
    """A cluster with the Service of a service of `roles`, and `pods`."""
    cluster = await a_cluster(make.raw_service(*roles), **limits)
    entry = make.desired(*roles).entry
    metadata = {key: value for key, value in entry["metadata"].items() if key != "ownerReferences"}
    await cluster.kube.send(requests.apply(ENTRIES, {**entry, "metadata": metadata}, manager="fusioninfer"))
    for pod in pods:
        named = {**pod["metadata"], "ownerReferences": []}
        body = msgspec.json.encode({**pod, "apiVersion": "v1", "kind": "Pod", "metadata": named})
        await cluster.kube.send(Request("POST", PODS.path("default"), body=body, content_type=JSON))
        status = msgspec.json.encode({"status": pod["status"]})
        path = PODS.path("default", pod["metadata"]["name"], "status")
        await cluster.kube.send(Request("PATCH", path, {}, status, "application/merge-patch+json"))
    return cluster


def serving(pod: Any, *, init: bool = False) -> Any:
    """`pod` with a container whose port is called http."""
    container = {"name": "engine", "image": "x", "ports": [{"name": "http", "containerPort": 8000}]}
    return {**pod, "spec": {**pod.get("spec", {}), "initContainers" if init else "containers": [container]}}


async def test_an_engine_is_asked_where_there_is_no_router() -> None:
    cluster = await with_entry(make.a_role(), pods=(serving(make.a_pod(0)), serving(make.a_ready_pod(1))))

    assert await door(cluster, "default", "qwen") == Door("qwen-inference-1", 8000)


async def test_the_router_is_asked_where_clients_are_led_to_it() -> None:
    router = serving(make.a_router_pod(template="t"))
    cluster = await with_entry(make.a_role(), make.a_router(), pods=(serving(make.a_ready_pod()), router))

    assert (await door(cluster, "default", "qwen")).pod == "qwen-entry-t-0"


async def test_where_nobody_is_ready_it_says_how_to_learn_why() -> None:
    with pytest.raises(Missing, match="no pod of qwen is ready to answer; `fusioninfer explain qwen` says why"):
        await door(await with_entry(make.a_role(), pods=(serving(make.a_pod(0)),)), "default", "qwen")
    with pytest.raises(Missing, match="Service other not found in namespace default"):
        await door(await a_cluster(), "default", "other")
    with pytest.raises(Missing, match="cannot list resource 'pods'"):
        await door(await with_entry(make.a_role(), forbidden=["pods"]), "default", "qwen")


@pytest.mark.parametrize(
    ("target", "init", "port"),
    [("http", False, 8000), ("http", True, 8000), (9000, False, 9000), (None, False, 80)],
)
def test_the_port_is_found_by_name_or_number(target: Any, init: bool, port: int) -> None:
    entry = msgspec.convert(
        {"metadata": {"name": "qwen"}, "spec": {"ports": [{"port": 80, "targetPort": target}]}}, Entry
    )
    pod = msgspec.convert(serving(make.a_pod(), init=init), Serving)

    assert port_of(entry, pod) == port


# --- the answer ---------------------------------------------------------------------------------------------------


async def _stream(*lines: str) -> AsyncIterator[bytes]:
    for line in lines:
        yield f"{line}\n".encode()


def event(**delta: str) -> str:
    return f"data: {json.dumps({'choices': [{'delta': delta}]})}"


async def test_the_pieces_of_an_answer_are_joined_by_nobody() -> None:
    stream = _stream(
        event(role="assistant"), "", event(content="Hel"), ": a comment", event(content="lo"), "data: [DONE]"
    )

    assert [word async for word in words(stream) if word] == ["Hel", "lo"]


async def test_what_a_model_thinks_is_shown_too() -> None:
    assert [word async for word in words(_stream(event(reasoning_content="hm")))] == ["hm"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("data: <html>", "no answer of the OpenAI API: <html>", id="no JSON"),
        pytest.param('data: {"error": {"message": "out of memory"}}', "out of memory", id="an error on the way"),
    ],
)
async def test_an_answer_that_breaks_off_says_why(line: str, says: str) -> None:
    with pytest.raises(Silent, match=says):
        assert [word async for word in words(_stream(line))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"error": {"message": "no such model", "code": 404}}', "no such model"),
        ('{"message": "no such model"}', "no such model"),
        ('"no"', "no"),
        ("upstream  connect\nerror", "upstream connect error"),
        ("", "nothing said"),
    ],
)
def test_what_an_error_says(text: str, says: str) -> None:
    assert complaint(text) == says


@asynccontextmanager
async def an_engine(*answers: str, models: Any = None) -> AsyncIterator[tuple[Talk, list[Any]]]:
    """A talk with an engine that gives `answers`, one after the other; and what it was asked."""
    asked: list[Any] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        if len(asked) > len(answers):
            return web.json_response({"error": {"message": "tired"}}, status=503)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(f"{event(content=answers[len(asked) - 1])}\n\ndata: [DONE]\n\n".encode())
        return response

    async def list_models(request: web.Request) -> web.Response:
        return web.json_response(models if models is not None else {"data": [{"id": "qwen"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/models", list_models)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        yield Talk(session, address, await first_model(session, address)), asked
    await runner.cleanup()


async def test_a_conversation_is_sent_whole_each_time() -> None:
    written: list[str] = []
    async with an_engine("Hello.", "Four.") as (talk, asked):
        await talk.ask("Hi", written.append)
        await talk.ask("2+2?", written.append)

    assert written == ["Hello.", "Four."]
    assert asked[1]["model"] == "qwen"
    assert [message["content"] for message in asked[1]["messages"]] == ["Hi", "Hello.", "2+2?"]


async def test_a_question_without_an_answer_is_forgotten() -> None:
    async with an_engine("Hello.") as (talk, _):
        await talk.ask("Hi", lambda word: None)
        with pytest.raises(Silent, match="HTTP 503: tired"):
            await talk.ask("2+2?", lambda word: None)

        assert [message["content"] for message in talk.said] == ["Hi", "Hello."]


async def test_an_engine_that_names_no_model_needs_to_be_told() -> None:
    with pytest.raises(Silent, match="/v1/models names no model; name it with --model"):
        async with an_engine(models={"data": []}):
            pass
