"""A port of a pod as a port of this machine, by a websocket for each connection.

The protocol is the kubelet's own (cri/streaming/portforward/websocket.go, sub-protocol v4.channel.k8s.io): every frame
begins with its channel, 0 for data and 1 for errors; the first frame of each channel holds the port (uint16, little
endian). It has no end of one direction: whoever closes, closes both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from fusioninfer.kube import errors
from fusioninfer.kube.client import Client
from fusioninfer.kube.requests import Request, Resource

PODS = Resource("", "v1", "Pod", "pods")
PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
PORT_FRAME_BYTES = 3
CHUNK_BYTES = 1 << 16


@asynccontextmanager
async def forwarded(client: Client, namespace: str, pod: str, port: int) -> AsyncIterator[str]:
    """The address, such as 127.0.0.1:40123, that leads to `port` of `pod` while the block lasts.

    Raises KubeError if no connection may be made, or can be; later ones that cannot are closed at once.
    """
    request = Request("GET", PODS.path(namespace, pod, "portforward"), {"ports": str(port)})
    first = [await client.websocket(request, PROTOCOL)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(errors.KubeError, OSError):
            socket = first.pop() if first else await client.websocket(request, PROTOCOL)
            await _joined(reader, writer, socket)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, local = server.sockets[0].getsockname()[:2]
        yield f"{host}:{local}"
    finally:
        server.close()
        for unused in first:
            await unused.close()


async def _joined(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: aiohttp.ClientWebSocketResponse
) -> None:
    """Carry bytes both ways until one side closes."""
    ways = {asyncio.create_task(_out(reader, socket)), asyncio.create_task(_back(socket, writer))}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await socket.close()


async def _out(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while piece := await reader.read(CHUNK_BYTES):
        await socket.send_bytes(bytes([DATA]) + piece)


async def _back(socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    begun: set[int] = set()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            return
        channel, rest = message.data[0], message.data[1:]
        if channel not in begun:  # its first frame names the port
            begun.add(channel)
            rest = rest[PORT_FRAME_BYTES - 1 :]
        if channel == DATA and rest:
            writer.write(rest)
            await writer.drain()
        if channel == ERROR and rest:
            return
