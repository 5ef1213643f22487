"""The endpoints of the process, on one port: /healthz, /readyz and /metrics.

/healthz fails when only a restart helps. That the event loop turns is shown by there being an answer at all.

/readyz fails until every cache has been filled once, and never again. Nobody sends requests to an operator, so
readiness decides one thing: whether a roll-out of the operator goes on. A follower is ready, or a roll-out would wait
for the leader that it is about to replace; and an API server that went away is not mended by calling us unready.

/metrics is open where only this machine can ask, and asks for a bearer token elsewhere.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

Check = Callable[[], Iterable[str]]
"""What is wrong, in words; nothing if all is well."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read the metrics."""

    bind_address: str
    token_file: str = ""

    def refusal(self, authorization: str) -> web.Response | None:
        """The answer to a request with this Authorization header that may not read; None if it may."""
        if not self.token_file:
            if _is_loopback(self.bind_address):
                return None
            return web.Response(status=403, text="metrics are closed: set a token file, or bind to 127.0.0.1\n")
        try:
            # Read every time: whoever mounts the token may renew it.
            token = Path(self.token_file).read_text().strip()
        except OSError as error:
            return web.Response(status=403, text=f"metrics are closed: the token cannot be read: {error.strerror}\n")
        if token and hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text="metrics ask for a bearer token\n")


def application(*, wrong: Check, unready: Check, metrics: Callable[[], bytes], access: Access) -> web.Application:
    """The endpoints: `wrong` is what only a restart helps, `unready` what is still awaited after the start."""

    async def healthz(_: web.Request) -> web.Response:
        return _verdict(wrong())

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(unready())

    async def scrape(request: web.Request) -> web.Response:
        refusal = access.refusal(request.headers.get("Authorization", ""))
        return refusal or web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    return app


@asynccontextmanager
async def serving(app: web.Application, bind_address: str, port: int) -> AsyncIterator[int]:
    """Serve `app`; the value is the port, a free one if `port` is 0. Raises OSError if it is taken."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, bind_address, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _verdict(faults: Iterable[str]) -> web.Response:
    lines = list(faults)
    return web.Response(status=503 if lines else 200, text="\n".join([*lines, "" if lines else "ok\n"]))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
