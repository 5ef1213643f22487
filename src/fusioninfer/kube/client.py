"""A `Kube` over HTTP."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from typing import Self
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp.connector import Connection as Socket
from aiohttp.tracing import Trace
from yarl import URL

from fusioninfer import __version__
from fusioninfer.kube import errors
from fusioninfer.kube.connection import Connection
from fusioninfer.kube.requests import Request

USER_AGENT = f"fusioninfer/{__version__}"

KEEP_ALIVE_SECONDS = 60.0
"""Less than the API server's own 90 s (apiserver pkg/server/secure_serving.go), so that it never closes first."""

_FAILURES = (aiohttp.ClientError, OSError)
"""All that can keep an answer from arriving; a time-out is an OSError."""

MayWrite = Callable[[], None]
"""Raises if nothing may be written now."""
OnAnswer = Callable[[Request, int, float], None]
"""Hears of a request: its status code, 0 if no whole answer came, and how long that took in seconds."""


class Client:
    """Sends requests to the API server of a connection.

    Made in a running event loop and used in that one alone: another loop makes its own. To be closed in the end.

    `may_write` is called when a request that is no GET is about to go out, over a connection that is open already,
    and keeps it back by raising.
    `on_answer` hears of every request; of a watch when it begins.
    Watches do not count among `connections`, and `timeout_seconds` does not end them: `idle_seconds` of silence do.
    That is more than the minute between the API server's bookmarks, so that only a dead connection is that silent;
    None for what may be silent for ever, such as a log.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        connections: int = 32,
        timeout_seconds: float = 30.0,
        connect_seconds: float = 10.0,
        idle_seconds: float | None = 90.0,
        max_answer_bytes: int = 64 << 20,
        max_line_bytes: int = 16 << 20,
        may_write: MayWrite | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = connection.server
        self._proxy = connection.proxy or None
        self._server_hostname = connection.tls_server_name or None
        self._credential = connection.login()
        self._max_answer_bytes = max_answer_bytes
        self._max_line_bytes = max_line_bytes
        self._on_answer = on_answer or _unheard
        whole = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=connect_seconds)
        idle = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=idle_seconds)
        self._answers = _session(connection, connections, whole, may_write or _unfenced)
        self._watches = _session(connection, 0, idle, may_write or _unfenced)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests and watches that are under way end as Unreachable."""
        await self._answers.close()
        await self._watches.close()

    async def send(self, request: Request) -> bytes:
        """The body of the answer; raises `errors.ApiError` or `errors.Unreachable`."""
        started = time.perf_counter()
        response = await self._granted(self._answers, request, started)
        try:
            body = await self._whole(response)
        except _FAILURES as error:
            raise self._unanswered(request, error, started) from error
        self._on_answer(request, response.status, time.perf_counter() - started)
        return body

    async def stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, without line ends, until the server ends it; raises as `send`.

        A line that the end of the connection cuts short is not given: Unreachable is raised instead.
        """
        lines = _Lines(self._max_line_bytes)
        try:
            async for chunk in self.pieces(request):
                for line in lines.whole(chunk):
                    yield line
            lines.end()
        except _FAILURES as error:
            raise self._unreachable(request, error) from error

    async def pieces(self, request: Request) -> AsyncGenerator[bytes, None]:
        """What arrives of an answer that may last, such as a log, as it arrives; raises as `send`."""
        started = time.perf_counter()
        response = await self._granted(self._watches, request, started)
        self._on_answer(request, response.status, time.perf_counter() - started)
        try:
            async with response:
                async for chunk in response.content.iter_any():
                    yield chunk
        except _FAILURES as error:
            raise self._unreachable(request, error) from error

    async def websocket(self, request: Request, protocol: str) -> aiohttp.ClientWebSocketResponse:
        """A websocket of that sub-protocol, open and to be closed by the caller; raises as `send`."""
        started = time.perf_counter()
        authorization = await self._credential.header()
        try:
            socket = await self._watches.ws_connect(
                self._url(request),
                protocols=(protocol,),
                headers={"Authorization": authorization} if authorization else None,
                proxy=self._proxy,
                server_hostname=self._server_hostname,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as refusal:
            self._on_answer(request, refusal.status, time.perf_counter() - started)
            raise await self._refusal(request, refusal) from refusal
        except _FAILURES as error:
            raise self._unanswered(request, error, started) from error
        self._on_answer(request, 101, time.perf_counter() - started)
        return socket

    async def _refusal(self, request: Request, refusal: aiohttp.WSServerHandshakeError) -> errors.KubeError:
        """Why there is no websocket. The refusal does not say it; asked without one, the API server does."""
        try:
            await self.send(request)
        except errors.ApiError as error:
            if error.status.code == refusal.status:
                return error
        return errors.error_from(refusal.status, refusal.message.encode())

    async def _granted(
        self, session: aiohttp.ClientSession, request: Request, started: float
    ) -> aiohttp.ClientResponse:
        """The answer to `request`, its body yet to be read; raises if it says no."""
        try:
            response = await self._answered(session, request)
            if response.status < 300:
                return response
            body = await self._whole(response)
        except _FAILURES as error:
            raise self._unanswered(request, error, started) from error
        self._on_answer(request, response.status, time.perf_counter() - started)
        if response.status < 400:  # a proxy's page to log in, and no API server
            raise self._unreachable(request, f"redirected to {response.headers.get('Location')}")
        raise errors.error_from(response.status, body, _retry_after_seconds(response))

    async def _answered(self, session: aiohttp.ClientSession, request: Request) -> aiohttp.ClientResponse:
        """Ask, and once more if our token was refused and there is a newer one."""
        authorization = await self._credential.header()
        response = await self._ask(session, request, authorization)
        if response.status != 401:
            return response
        renewed = await self._credential.renewed(authorization)
        if renewed == authorization:
            return response
        response.close()
        return await self._ask(session, request, renewed)

    async def _ask(
        self, session: aiohttp.ClientSession, request: Request, authorization: str
    ) -> aiohttp.ClientResponse:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this Client belongs to another event loop")
        headers = {"Accept": request.accept}
        if authorization:
            headers["Authorization"] = authorization
        if request.content_type:
            headers["Content-Type"] = request.content_type
        return await session.request(
            request.method,
            self._url(request),
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
            server_hostname=self._server_hostname,
        )

    def _url(self, request: Request) -> URL:
        query = f"?{urlencode(request.query)}" if request.query else ""
        return URL(f"{self._server}{quote(request.path, safe='/:')}{query}", encoded=True)

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        pieces = []
        size = 0
        async with response:
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > self._max_answer_bytes:
                    raise aiohttp.ClientPayloadError(f"the answer is larger than {self._max_answer_bytes} bytes")
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _unanswered(self, request: Request, error: Exception, started: float) -> errors.Unreachable:
        self._on_answer(request, 0, time.perf_counter() - started)
        return self._unreachable(request, error)

    def _unreachable(self, request: Request, reason: Exception | str) -> errors.Unreachable:
        said = str(reason) or ("timed out" if isinstance(reason, TimeoutError) else type(reason).__name__)
        return errors.Unreachable(f"{request.method} {self._server}{request.path}: {said}")


class _Gate(aiohttp.TCPConnector):
    """Lets a write through only if it may go out now.

    Here and not before the request: waiting for a free connection, or for a handshake, can take longer than a lease.
    """

    def __init__(self, may_write: MayWrite, limit: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(limit=limit, ssl=tls or True, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._may_write = may_write

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's name
    ) -> Socket:
        socket = await super().connect(req, traces, timeout)
        if req.method != "GET":
            try:
                self._may_write()
            except BaseException:
                socket.release()
                raise
        return socket


def _session(
    connection: Connection, connections: int, timeout: aiohttp.ClientTimeout, may_write: MayWrite
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_Gate(may_write, connections, connection.tls),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        # Unpacking a large list costs more CPU than the bytes saved are worth inside a cluster.
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


class _Lines:
    """Cuts what arrives of a watch into lines, as they become whole.

    Cut here: aiohttp's own readline refuses lines of more than 128 KiB.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._begun: list[bytes] = []
        self._begun_bytes = 0

    def whole(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes; raises aiohttp.ClientPayloadError if the one that it begins is too long."""
        first, *lines = chunk.split(b"\n")
        self._begun.append(first)
        self._begun_bytes += len(first)
        if lines:
            lines.insert(0, b"".join(self._begun))
            begun = lines.pop()
            self._begun, self._begun_bytes = [begun], len(begun)
        if self._begun_bytes > self._max_line_bytes:
            raise aiohttp.ClientPayloadError(f"a line is longer than {self._max_line_bytes} bytes")
        return lines

    def end(self) -> None:
        """Raises aiohttp.ClientPayloadError if the last line is not whole."""
        if self._begun_bytes:
            raise aiohttp.ClientPayloadError("ended in the middle of a line")


def _retry_after_seconds(response: aiohttp.ClientResponse) -> float:
    """What the Retry-After header asks for; 0 if nothing. The API server writes whole seconds, never a date."""
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0


def _unfenced() -> None:
    """Whoever asks may write."""


def _unheard(request: Request, status: int, seconds: float) -> None:
    """Nobody counts."""
