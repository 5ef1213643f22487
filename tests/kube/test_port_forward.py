"""A pod's port as one of this machine, over websockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from fusioninfer.kube import errors
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Connection, Fixed
from fusioninfer.kube.port_forward import PROTOCOL, forwarded

PORT = b"\x40\x1f"  # 8000, little endian


@dataclass
class Kubelet:
    """What the kubelet's end does: tells the port, then says everything twice."""

    status: int = 101
    complains: bytes = b""
    asked: list[str] = field(default_factory=list)
    open: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.path_qs} {request.headers.get('Authorization', '')}".strip())
        if self.status != 101:
            return web.json_response({"message": "no right to do that", "code": self.status}, status=self.status)
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        assert socket.ws_protocol == PROTOCOL
        self.open += 1
        await socket.send_bytes(b"\x00" + PORT)
        await socket.send_bytes(b"\x01" + PORT)
        if self.complains:
            await socket.send_bytes(b"\x01" + self.complains)
        async for message in socket:
            assert message.type is aiohttp.WSMsgType.BINARY
            assert message.data[:1] == b"\x00"
            await socket.send_bytes(message.data + message.data[1:])
        self.open -= 1
        return socket


@asynccontextmanager
async def forwarding(kubelet: Kubelet) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", kubelet.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connection = Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", login=lambda: Fixed("Bearer t"))
    try:
        async with Client(connection) as client, forwarded(client, "llm", "a-0", 8000) as address:
            yield address
    finally:
        await runner.cleanup()


async def say(address: str, words: bytes) -> bytes:
    """What comes back, as much as is to be expected."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(words)
    try:
        return await asyncio.wait_for(reader.readexactly(2 * len(words)), 5)
    finally:
        writer.close()


async def test_bytes_go_both_ways_and_each_connection_has_a_socket_of_its_own() -> None:
    kubelet = Kubelet()
    async with forwarding(kubelet) as address:
        assert await say(address, b"hello") == b"hellohello"
        assert await say(address, b"x" * 300_000) == b"x" * 600_000

    assert kubelet.asked == ["/api/v1/namespaces/llm/pods/a-0/portforward?ports=8000 Bearer t"] * 2


async def test_the_end_of_a_connection_closes_its_socket() -> None:
    kubelet = Kubelet()
    async with forwarding(kubelet) as address:
        await say(address, b"hello")
        for _ in range(100):
            if not kubelet.open:
                break
            await asyncio.sleep(0.02)

        assert kubelet.open == 0


async def test_a_missing_right_is_said_at_once() -> None:
    with pytest.raises(errors.Forbidden, match="no right to do that"):
        async with forwarding(Kubelet(status=403)):
            pass


async def test_what_the_kubelet_complains_of_ends_the_connection() -> None:
    async with forwarding(Kubelet(complains=b"nobody listens on port 8000")) as address:
        with pytest.raises(asyncio.IncompleteReadError):
            await say(address, b"hello")
