"""`fusioninfer chat`: talk to a service, through a port-forward to one of the pods that its own Service leads to."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from fusioninfer.api import names
from fusioninfer.cli.look import Missing, listed
from fusioninfer.kube import errors, requests
from fusioninfer.kube.client import Client
from fusioninfer.kube.objects import Object
from fusioninfer.kube.port_forward import forwarded
from fusioninfer.kube.requests import Kube
from fusioninfer.reconcile.snapshot import ENTRIES, PODS, Pod

# ruff: noqa: N815 - the names are the wire's

ANSWERED, FAILED = 0, 1
"""Exit codes: 1 if the model, or what stands before it, gave no answer."""
PROMPT = "> "
NO_END = aiohttp.ClientTimeout(total=None, sock_connect=10)
"""An answer may take as long as it takes."""


class Silent(Exception):
    """There was no answer; says why."""


# --- where it is --------------------------------------------------------------------------------------------------


class Port(msgspec.Struct, frozen=True):
    """A port of a Service."""

    port: int
    targetPort: int | str | None = None


class EntrySpec(msgspec.Struct, frozen=True):
    """Where a Service leads."""

    selector: dict[str, str] = {}
    ports: tuple[Port, ...] = ()


class Entry(Object, frozen=True):
    """The Service by which clients reach the model."""

    spec: EntrySpec = EntrySpec()


class ContainerPort(msgspec.Struct, frozen=True):
    """A port that a container names."""

    containerPort: int
    name: str = ""


class Container(msgspec.Struct, frozen=True):
    """A container, as far as its ports go."""

    ports: tuple[ContainerPort, ...] = ()


class ServingSpec(msgspec.Struct, frozen=True):
    """The containers of a pod."""

    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()


class Serving(Object, frozen=True):
    """A pod, as far as it is reached."""

    spec: ServingSpec = ServingSpec()


@dataclass(frozen=True, slots=True)
class Door:
    """A pod, and the port on which it answers."""

    pod: str
    port: int


async def door(kube: Kube, namespace: str, name: str) -> Door:
    """A ready pod that the entry of the service leads to: of the router if there is one, else of an engine.

    Raises Missing if there is none, and KubeError.
    """
    try:
        body = await kube.send(requests.get(ENTRIES, namespace, names.entry(name)))
    except errors.NotFound:
        raise Missing(
            f"Service {name} not found in namespace {namespace}; `fusioninfer explain {name}` says why"
        ) from None
    entry = msgspec.json.decode(body, type=Entry)
    labels = ",".join(f"{key}={value}" for key, value in entry.spec.selector.items())
    pods = await listed(kube, PODS, namespace, labels)
    if pods.unread:
        raise Missing(pods.unread)
    for pod, serving in zip(pods.read_as(Pod), pods.read_as(Serving), strict=True):
        if pod.ready:
            return Door(pod.metadata.name, port_of(entry, serving))
    raise Missing(f"no pod of {name} is ready to answer; `fusioninfer explain {name}` says why")


def port_of(entry: Entry, pod: Serving) -> int:
    """The port of `pod` that the entry means; raises Missing if the pod does not have it."""
    (port, *_) = entry.spec.ports
    if not isinstance(port.targetPort, str):
        return port.targetPort or port.port
    containers = (*pod.spec.containers, *pod.spec.initContainers)
    for named in (one for container in containers for one in container.ports):
        if named.name == port.targetPort:
            return named.containerPort
    raise Missing(f"pod {pod.metadata.name} has no port {port.targetPort}")


# --- talking ------------------------------------------------------------------------------------------------------

Write = Callable[[str], None]
"""Shows a piece of an answer, at once."""


@dataclass(slots=True)
class Talk:
    """One conversation with one model."""

    session: aiohttp.ClientSession
    address: str
    model: str
    said: list[dict[str, str]] = field(default_factory=list)

    async def ask(self, question: str, write: Write) -> None:
        """Ask, and write the answer as it comes. Raises Silent if there is none; then the question is forgotten."""
        self.said.append({"role": "user", "content": question})
        asked = {"model": self.model, "messages": self.said, "stream": True}
        answer = ""
        try:
            async with self.session.post(f"http://{self.address}/v1/chat/completions", json=asked) as response:
                if response.status != 200:
                    raise Silent(f"HTTP {response.status}: {complaint(await response.text())}")
                async for word in words(response.content):
                    answer += word
                    write(word)
        except (aiohttp.ClientError, OSError) as error:
            raise Silent(str(error) or type(error).__name__) from error
        finally:
            if not answer:
                self.said.pop()
        self.said.append({"role": "assistant", "content": answer})


async def first_model(session: aiohttp.ClientSession, address: str) -> str:
    """The first model that is served; raises Silent."""
    try:
        async with session.get(f"http://{address}/v1/models") as response:
            text = await response.text()
    except (aiohttp.ClientError, OSError) as error:
        raise Silent(str(error) or type(error).__name__) from error
    if response.status != 200:
        raise Silent(f"/v1/models: HTTP {response.status}: {complaint(text)}")
    try:
        return str(msgspec.json.decode(text)["data"][0]["id"])
    except (msgspec.DecodeError, LookupError, TypeError):
        raise Silent("/v1/models names no model; name it with --model") from None


async def words(stream: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The pieces of the answer in a stream of server-sent events, of the OpenAI API; raises Silent."""
    async for line in stream:
        event = line.decode(errors="replace").strip()
        if event.startswith("data:") and (text := event.removeprefix("data:").strip()) != "[DONE]":
            try:
                piece = msgspec.json.decode(text)
            except msgspec.DecodeError:
                raise Silent(f"no answer of the OpenAI API: {text[:200]}") from None
            for choice in piece.get("choices") or ():
                delta: dict[str, Any] = choice.get("delta") or {}
                yield delta.get("content") or delta.get("reasoning_content") or ""
            if "error" in piece:
                raise Silent(complaint(text))


def complaint(text: str) -> str:
    """What an answer that says no says, without the JSON around it."""
    try:
        told = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return " ".join(text.split())[:500] or "nothing said"
    told = told.get("error", told) if isinstance(told, dict) else told
    return str(told.get("message", told)) if isinstance(told, dict) else str(told)


async def chat(
    client: Client, namespace: str, name: str, questions: Iterable[str], model: str, write: Write, complain: Write
) -> int:  # fmt: skip
    """Ask one question after the other; the exit code. Raises Missing, and KubeError."""
    there = await door(client, namespace, name)
    code = ANSWERED
    async with forwarded(client, namespace, there.pod, there.port) as address, _session() as session:
        try:
            talk = Talk(session, address, model or await first_model(session, address))
        except Silent as silence:
            complain(f"pod {there.pod}, port {there.port}: {silence}")
            return FAILED
        for question in questions:
            code = ANSWERED
            try:
                await talk.ask(question, write)
            except Silent as silence:
                complain(f"pod {there.pod}, model {talk.model}: {silence}")
                code = FAILED
            write("\n")
    return code


def _session() -> aiohttp.ClientSession:
    """Without kept connections: the engine closes its own while somebody thinks of the next question."""
    return aiohttp.ClientSession(timeout=NO_END, connector=aiohttp.TCPConnector(force_close=True))


def typed() -> Iterator[str]:
    """What a person types, a question a line, until the end of input; or all that a program writes as one."""
    if not sys.stdin.isatty():
        if question := sys.stdin.read().strip():
            yield question
        return
    try:
        while True:
            if question := _typed_line().strip():
                yield question
    except EOFError:
        return


def _typed_line() -> str:
    """A line of input. Ctrl-C ends it at once: asyncio's own handler would wait for the line."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(PROMPT)
    finally:
        signal.signal(signal.SIGINT, before)
