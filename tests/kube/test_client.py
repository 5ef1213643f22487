"""Requests over HTTP: what comes of answers, of silence, and of servers that break off."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fusioninfer import __version__
from fusioninfer.kube import errors
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Connection, Credential, Fixed, TokenFile
from fusioninfer.kube.requests import APPLY, JSON, Request, Resource, apply, delete, get, watch

THINGS = Resource("example.com", "v1", "Thing", "things")
GET = get(THINGS, "default", "a")
WRITE = apply(THINGS, {"metadata": {"namespace": "default", "name": "a"}}, manager="me")
WATCH = watch(THINGS, resource_version="5", timeout_seconds=300)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A web server that answers everything with `handler`; yields its URL."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", r"/{path:[\s\S]*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sending(answer: bytes, *, reset: bool = False, silence: bool = False) -> AsyncIterator[str]:
    """A socket that reads a request's head, says `answer` to the letter, and then closes, resets or is silent."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if silence:
            await over.wait()
        if reset:
            writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()


@asynccontextmanager
async def client_of(server: str, *, login: Callable[[], Credential] = Fixed, **fields: Any) -> AsyncIterator[Client]:
    async with Client(Connection(server, login=login), **fields) as client:
        yield client


def answering(body: bytes = b"{}", **fields: Any) -> Handler:
    """Gives everybody the same."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, **fields)

    return handle


async def all_lines(client: Client) -> list[bytes]:
    return [line async for line in client.stream(WATCH)]


async def one_line_and_the_end(client: Client) -> errors.KubeError:
    """How a watch failed after its one whole line."""
    lines = client.stream(WATCH)
    assert await anext(lines) == b"whole"
    with pytest.raises(errors.KubeError) as end:
        await anext(lines)
    return end.value


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


# --- what goes out ---


async def test_a_request_goes_out_as_it_is_written() -> None:
    seen: list[tuple[str, str, bytes, str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        headers = request.headers
        seen.append((request.method, request.path_qs, body, headers["Accept"], headers.get("Content-Type", "")))
        return web.Response(body=b'{"kind":"Thing"}')

    async with serving(handle) as server, client_of(server) as client:
        assert await client.send(WRITE) == b'{"kind":"Thing"}'
        await client.send(delete(THINGS, "default", "a", uid="u"))
        await client.send(Request("GET", "/api", {"labelSelector": "a in (b,c),d!=é"}, accept="x/y"))

    path = "/apis/example.com/v1/namespaces/default/things/a"
    assert seen[0] == ("PATCH", f"{path}?fieldManager=me&force=true", WRITE.body, JSON, APPLY)
    assert seen[1][:2] == ("DELETE", path)
    assert b'"uid":"u"' in seen[1][2]
    assert seen[1][4] == JSON
    assert seen[2] == ("GET", "/api?labelSelector=a+in+%28b%2Cc%29%2Cd%21%3D%C3%A9", b"", "x/y", "")


async def test_a_path_cannot_smuggle_in_another_request() -> None:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    async with serving(handle) as server, client_of(server) as client:
        await client.send(Request("GET", "/a b?c=d#e HTTP/1.1\r\nX: y\r\n\r\n%2e"))
        await client.send(Request("GET", "/apis/rbac/system:node"))

    assert seen == ["/a%20b%3Fc%3Dd%23e%20HTTP/1.1%0D%0AX:%20y%0D%0A%0D%0A%252e", "/apis/rbac/system:node"]


async def test_a_server_behind_a_path_is_asked_there() -> None:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async with serving(handle) as server, client_of(f"{server}/k8s/clusters/c-1") as client:
        await client.send(GET)

    assert seen == ["/k8s/clusters/c-1/apis/example.com/v1/namespaces/default/things/a"]


async def test_we_say_who_we_are_and_want_nothing_packed() -> None:
    seen: list[dict[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response()

    async with serving(handle) as server, client_of(server, login=lambda: Fixed("Bearer t")) as client:
        await client.send(GET)

    assert seen[0]["User-Agent"] == f"fusioninfer/{__version__}"
    assert seen[0]["Authorization"] == "Bearer t"
    assert seen[0]["Accept-Encoding"] == "identity"


async def test_without_a_credential_there_is_no_header_of_it() -> None:
    seen: list[bool] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append("Authorization" in request.headers)
        return web.Response()

    async with serving(handle) as server, client_of(server) as client:
        await client.send(GET)

    assert seen == [False]


# --- what comes back ---


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param(400, errors.Refused, id="400"),
        pytest.param(403, errors.Forbidden, id="403"),
        pytest.param(404, errors.NotFound, id="404"),
        pytest.param(409, errors.Conflict, id="409"),
        pytest.param(410, errors.Gone, id="410"),
        pytest.param(422, errors.Refused, id="422"),
        pytest.param(429, errors.Unavailable, id="429"),
        pytest.param(500, errors.Unavailable, id="500"),
        pytest.param(503, errors.Unavailable, id="503"),
    ],
)
async def test_a_refusal_is_an_error_of_its_kind_for_requests_and_watches(
    code: int, kind: type[errors.ApiError]
) -> None:
    body = b'{"kind":"Status","code":%d,"reason":"Because","message":"of that"}' % code
    async with serving(answering(body, status=code)) as server, client_of(server) as client:
        with pytest.raises(kind, match="Because: of that"):
            await client.send(GET)
        with pytest.raises(kind, match="Because: of that"):
            await all_lines(client)


def test_a_webhook_that_does_not_answer_is_no_broken_api_server() -> None:
    """As API server 1.36.3 says it."""
    refused = (
        'Internal error occurred: failed calling webhook "mleaderworkerset.kb.io": failed to call webhook: Post '
        '"https://lws-webhook-service.lws-system.svc:443/mutate": dial tcp 198.19.0.9:443: connect: connection refused'
    )
    body = json.dumps({"kind": "Status", "code": 500, "reason": "InternalError", "message": refused}).encode()

    assert type(errors.error_from(500, body)) is errors.WebhookDown
    assert type(errors.error_from(500, body.replace(b"webhook", b"etcd"))) is errors.Unavailable


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, id="a date"),
        pytest.param("-1", 0.0, id="less than nothing"),
    ],
)
async def test_retry_after_comes_with_the_error(header: str, seconds: float) -> None:
    handler = answering(status=429, headers={"Retry-After": header})
    async with serving(handler) as server, client_of(server) as client:
        with pytest.raises(errors.Unavailable) as refused:
            await client.send(GET)

    assert refused.value.retry_after_seconds == seconds


async def test_a_redirect_is_no_answer_of_an_api_server() -> None:
    handler = answering(b"log in", status=302, headers={"Location": "https://login.example.com"})
    async with serving(handler) as server, client_of(server) as client:
        with pytest.raises(errors.Unreachable, match=r"redirected to https://login\.example\.com"):
            await client.send(GET)
        with pytest.raises(errors.Unreachable, match="redirected"):
            await all_lines(client)


async def test_a_packed_answer_is_unpacked_and_measured_unpacked() -> None:
    packed = gzip.compress(b"x" * 5000)
    handler = answering(packed, headers={"Content-Encoding": "gzip"})
    async with serving(handler) as server:
        async with client_of(server) as client:
            assert await client.send(GET) == b"x" * 5000
        async with client_of(server, max_answer_bytes=4999) as client:
            with pytest.raises(errors.Unreachable, match="larger than 4999 bytes"):
                await client.send(GET)


async def test_an_answer_of_64_mib_is_taken_and_a_larger_one_is_not() -> None:
    sizes = [64 << 20, (64 << 20) + 1]

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * sizes.pop(0))

    async with serving(handle) as server, client_of(server) as client:
        assert len(await client.send(GET)) == 64 << 20
        with pytest.raises(errors.Unreachable, match="the answer is larger than 67108864 bytes"):
            await client.send(GET)


async def test_a_refusal_without_end_is_cut_off() -> None:
    handler = answering(b"x" * 2000, status=500)
    async with serving(handler) as server, client_of(server, max_answer_bytes=1000) as client:
        with pytest.raises(errors.Unreachable, match="larger than 1000 bytes"):
            await client.send(GET)


# --- what does not come back ---


async def test_a_refused_connection_names_server_method_and_path() -> None:
    async with client_of("http://127.0.0.1:1") as client:
        with pytest.raises(
            errors.Unreachable, match=r"^GET http://127\.0\.0\.1:1/apis/example\.com/.*/things/a: Cannot connect"
        ):
            await client.send(GET)


async def test_an_unknown_host_is_unreachable() -> None:
    async with client_of("http://no-such-host.invalid") as client:
        with pytest.raises(errors.Unreachable, match="no-such-host"):
            await client.send(GET)


async def test_a_server_that_says_nothing_is_unreachable_in_time() -> None:
    async with sending(b"", silence=True) as server, client_of(server, timeout_seconds=0.05) as client:
        with pytest.raises(errors.Unreachable, match=r"things/a: timed out"):
            await client.send(GET)


async def test_a_server_that_stops_in_the_middle_is_unreachable_in_time() -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    async with sending(begun, silence=True) as server, client_of(server, timeout_seconds=0.05) as client:
        with pytest.raises(errors.Unreachable, match="timed out"):
            await client.send(GET)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", id="half of the body"),
        pytest.param(HEAD + chunk(b"{}"), id="no last chunk"),
        pytest.param(HEAD + b"what is this\r\n", id="chunks that are none"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", id="packed, but not so"
        ),
    ],
)
@pytest.mark.parametrize("reset", [pytest.param(False, id="closed"), pytest.param(True, id="reset")])
async def test_half_an_answer_is_unreachable(answer: bytes, reset: bool) -> None:
    async with sending(answer, reset=reset) as server, client_of(server) as client:
        with pytest.raises(errors.Unreachable, match=r"things/a: ."):
            await client.send(GET)


# --- watches ---


async def test_lines_come_as_they_become_whole() -> None:
    go_on = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"a":1}\n{"b"')
        await go_on.wait()
        await response.write(b":2}\n")
        return response

    async with serving(handle) as server, client_of(server) as client:
        lines = client.stream(WATCH)
        assert await anext(lines) == b'{"a":1}'
        go_on.set()
        assert await anext(lines) == b'{"b":2}'
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 100])
async def test_lines_are_the_same_however_they_are_cut_into_packets(length: int) -> None:
    text = b"first\nsecond\nthird, longer\n"
    packets = [text[start : start + length] for start in range(0, len(text), length)]
    async with sending(HEAD + b"".join(map(chunk, packets)) + chunk(b"")) as server, client_of(server) as client:
        assert await all_lines(client) == [b"first", b"second", b"third, longer"]


async def test_a_line_of_16_mib_is_taken_and_a_longer_one_is_not() -> None:
    lines = [b"x" * (16 << 20) + b"\nnext\n", b"y" * ((16 << 20) + 200_000)]

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client has had enough
            await response.write(lines.pop(0))
        return response

    async with serving(handle) as server, client_of(server) as client:
        first, second = await all_lines(client)
        assert (len(first), second) == (16 << 20, b"next")
        with pytest.raises(errors.Unreachable, match="a line is longer than 16777216 bytes"):
            await all_lines(client)


@pytest.mark.parametrize("end", [pytest.param(chunk(b""), id="ended in order"), pytest.param(b"", id="broken off")])
async def test_a_line_that_is_cut_short_is_not_given(end: bytes) -> None:
    async with sending(HEAD + chunk(b"whole\nhal") + end) as server, client_of(server) as client:
        failure = await one_line_and_the_end(client)

    assert isinstance(failure, errors.Unreachable)
    assert f"GET {server}/apis/example.com/v1/things: " in str(failure)


async def test_a_watch_that_is_reset_is_unreachable() -> None:
    async with sending(HEAD + chunk(b"whole\n"), reset=True) as server, client_of(server) as client:
        with pytest.raises(errors.Unreachable):
            await all_lines(client)


async def test_a_watch_that_falls_silent_is_unreachable() -> None:
    """Half-open TCP: nobody is there any more, and nothing says so."""
    begun = HEAD + chunk(b"whole\n")
    async with sending(begun, silence=True) as server, client_of(server, idle_seconds=0.05) as client:
        failure = await one_line_and_the_end(client)

    assert isinstance(failure, errors.Unreachable)
    assert "Timeout" in str(failure)


async def test_a_watch_that_speaks_now_and_then_outlives_the_time_limit_of_requests() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(6):
            await asyncio.sleep(0.02)
            await response.write(b"bookmark\n")
        return response

    async with serving(handle) as server, client_of(server, timeout_seconds=0.05, idle_seconds=0.08) as client:
        assert await all_lines(client) == [b"bookmark"] * 6


async def test_watches_do_not_count_among_the_connections() -> None:
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        if "watch" in request.query:
            await over.wait()
        return response

    async with serving(handle) as server, client_of(server, connections=1) as client:
        watches = [client.stream(WATCH) for _ in range(3)]
        assert [await anext(lines) for lines in watches] == [b"{}"] * 3
        assert await client.send(GET) == b"{}\n"
        over.set()
        for lines in watches:
            await lines.aclose()


async def test_a_watch_that_is_given_up_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"{}\n")
                await asyncio.sleep(0.005)
        finally:
            gone.set()

    async with serving(handle) as server, client_of(server) as client:
        lines = client.stream(WATCH)
        await anext(lines)
        await lines.aclose()
        await asyncio.wait_for(gone.wait(), 5)


# --- connections ---


async def test_connections_are_kept_and_their_number_is_limited() -> None:
    at_once = 0
    most = 0
    peers = set()

    async def handle(request: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        await asyncio.sleep(0.005)
        at_once -= 1
        return web.Response(body=b"{}")

    async with serving(handle) as server, client_of(server, connections=3) as client:
        await asyncio.gather(*(client.send(GET) for _ in range(12)))

    assert most == 3
    assert len(peers) == 3


async def test_a_refusal_leaves_its_connection_usable() -> None:
    peers = set()

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=b"{}", status=409)

    async with serving(handle) as server, client_of(server) as client:
        for _ in range(3):
            with pytest.raises(errors.Conflict):
                await client.send(WRITE)

    assert len(peers) == 1


async def test_a_client_is_of_one_event_loop() -> None:
    async with serving(answering()) as server, client_of(server) as client:
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, client.send(GET))


# --- fencing ---


class Lease:
    """A lease that can be lost."""

    def __init__(self) -> None:
        self.held = True
        self.asked = 0

    def must_be_held(self) -> None:
        self.asked += 1
        if not self.held:
            raise LookupError("the lease is lost")


async def test_nothing_is_written_once_the_lease_is_lost() -> None:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.Response(body=b"{}\n")

    lease = Lease()
    async with serving(handle) as server, client_of(server, may_write=lease.must_be_held) as client:
        await client.send(WRITE)
        lease.held = False
        for write in (WRITE, delete(THINGS, "default", "a", uid="u")):
            with pytest.raises(LookupError, match="lease is lost"):
                await client.send(write)
        await client.send(GET)
        assert await all_lines(client) == [b"{}"]

    assert seen == ["PATCH", "GET", "GET"]


async def test_a_lease_that_is_lost_while_a_write_waits_for_its_turn_keeps_it_back() -> None:
    seen: list[str] = []
    arrived = asyncio.Event()
    go_on = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.method)
        arrived.set()
        await go_on.wait()
        return web.Response(body=b"{}")

    lease = Lease()
    async with serving(handle) as server, client_of(server, connections=1, may_write=lease.must_be_held) as client:
        reading = asyncio.create_task(client.send(GET))
        await arrived.wait()
        writing = asyncio.create_task(client.send(WRITE))
        await asyncio.sleep(0.01)
        assert lease.asked == 0

        lease.held = False
        go_on.set()
        await reading
        with pytest.raises(LookupError):
            await writing
        assert await client.send(GET) == b"{}"  # the connection was given back

    assert seen == ["GET", "GET"]


# --- metrics ---


async def test_every_request_is_counted_with_its_status() -> None:
    heard: list[tuple[str, int]] = []
    codes = [200, 409, 200]

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=b"{}\n", status=codes.pop(0))

    def count(request: Request, status: int, seconds: float) -> None:
        assert 0 < seconds < 5
        heard.append((request.method, status))

    async with serving(handle) as server, client_of(server, on_answer=count) as client:
        await client.send(GET)
        with pytest.raises(errors.Conflict):
            await client.send(WRITE)
        await all_lines(client)
    async with client_of("http://127.0.0.1:1", on_answer=count) as client:
        with pytest.raises(errors.Unreachable):
            await client.send(WRITE)
        with pytest.raises(errors.Unreachable):
            await all_lines(client)

    assert heard == [("GET", 200), ("PATCH", 409), ("GET", 200), ("PATCH", 0), ("GET", 0)]


async def test_half_an_answer_counts_as_none() -> None:
    heard: list[int] = []
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    async with (
        sending(begun) as server,
        client_of(server, on_answer=lambda request, status, seconds: heard.append(status)) as client,
    ):
        with pytest.raises(errors.Unreachable):
            await client.send(GET)

    assert heard == [0]


# --- tokens ---


def taking(token: str, seen: list[str]) -> Handler:
    """Lets in whoever has `token`."""

    async def handle(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        seen.append(given)
        return web.Response(body=b"{}\n", status=200 if given == f"Bearer {token}" else 401)

    return handle


async def test_a_refused_token_is_read_again_and_the_request_repeated(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    seen: list[str] = []
    async with serving(taking("new", seen)) as server, client_of(server, login=lambda: TokenFile(file)) as client:
        with pytest.raises(errors.ApiError, match="401"):
            await client.send(GET)
        file.write_text("new\n")
        assert await client.send(WRITE) == b"{}\n"
        assert await all_lines(client) == [b"{}"]

    assert seen == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


async def test_a_fixed_token_that_is_refused_is_not_tried_twice() -> None:
    seen: list[str] = []
    async with serving(taking("new", seen)) as server, client_of(server, login=lambda: Fixed("Bearer old")) as client:
        with pytest.raises(errors.ApiError, match="401"):
            await client.send(GET)

    assert seen == ["Bearer old"]


async def test_closing_ends_what_is_under_way() -> None:
    async with sending(b"", silence=True) as server:
        client = Client(Connection(server))
        sending_it = asyncio.create_task(client.send(GET))
        await asyncio.sleep(0.02)
        started = time.monotonic()

        await client.close()
        with pytest.raises(errors.Unreachable):
            await sending_it

    assert time.monotonic() - started < 1
