"""A real Envoy on the loopback address, between a played picker and a played engine."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from fusioninfer.api.service import Manifest
from fusioninfer.build.router import envoy
from testbed.envoy import program
from tests.build.router.played_picker import Picker

START_SECONDS = 20
MORE_SECONDS = "x-test-seconds"
"""A request's header: how long the engine takes to answer."""
PARTS = "x-test-parts"
"""… and in how many parts it does, a tenth of a second apart."""


@dataclass
class Engine:
    """Answers everything, and keeps what it was asked."""

    port: int = 0
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers and body of each request."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.path_qs, {k.lower(): v for k, v in request.headers.items()}, body))
        await asyncio.sleep(float(request.headers.get(MORE_SECONDS, "0")))
        parts = int(request.headers.get(PARTS, "0"))
        if not parts:
            return web.Response(text="answered")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for part in range(parts):
            await response.write(f"data: {part}\n\n".encode())
            await asyncio.sleep(0.1)
        return response


@dataclass
class Answer:
    """What a client got, and after how long."""

    status: int
    text: str
    headers: dict[str, str]
    seconds: float


@dataclass
class Way:
    """All of it, with a client."""

    at: envoy.Ports
    picker: Picker
    engine: Engine
    client: aiohttp.ClientSession
    output: Path
    """What Envoy says."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.at.entry}"

    async def ask(
        self, path: str = "/v1/completions", *, body: bytes | None = b"{}", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request: a POST, unless there is no body."""
        return await self._ask(f"{self.url}{path}", body, headers or {})

    async def probe(self, path: str) -> int:
        """What the kubelet would be told."""
        return (await self._ask(f"http://127.0.0.1:{self.at.ready}{path}", None, {})).status

    async def await_probe(self, path: str, status: int) -> None:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                if await self.probe(path) == status:
                    return
            except aiohttp.ClientError:
                pass
            assert time.monotonic() < give_up, f"{path} is not {status}; Envoy said: {self.output.read_text()}"
            await asyncio.sleep(0.02)

    async def await_answer(self) -> None:
        """A request gets through: a worker hears of the picker's health a moment after the readiness does."""
        give_up = time.monotonic() + START_SECONDS
        while (answer := await self.ask()).status != 200:
            assert time.monotonic() < give_up, answer
            await asyncio.sleep(0.02)

    async def _ask(self, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        began = time.monotonic()
        method = "GET" if body is None else "POST"
        async with self.client.request(method, url, data=body, headers=headers) as response:
            text = await response.text()
            named = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, text, named, time.monotonic() - began)


@asynccontextmanager
async def a_way(
    folder: Path, change: Callable[[Manifest], None] = lambda _: None, *, picks: bool = True, **wishes: int | bool
) -> AsyncIterator[Way]:
    """A way through an Envoy with our configuration after `change`; without a picker unless it `picks`."""
    *ports, engine_port = free_ports(6)
    at = envoy.Ports(*ports)
    config = envoy.envoy_config(at, **wishes)  # type: ignore[arg-type]
    change(config)
    engine = Engine(engine_port)
    runner = web.AppRunner(_application(engine))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", engine_port).start()
    picker = Picker(f"127.0.0.1:{engine_port}")
    if picks:
        await picker.start(at.picker, at.health)
    output = folder / "envoy.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program(), *envoy.envoy_arguments(config), stdout=log, stderr=log
        )
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as client:
                way = Way(at, picker, engine, client, output)
                await way.await_probe(envoy.ALIVE_PATH, 200)
                if picks:
                    await way.await_probe(envoy.READY_PATH, 200)
                yield way
        finally:
            process.kill()
            await process.wait()
            await picker.stop()
            await runner.cleanup()


def _application(engine: Engine) -> web.Application:
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", engine.answer)
    return application


def free_ports(number: int) -> list[int]:
    """Ports of the loopback address at which nobody listens."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
