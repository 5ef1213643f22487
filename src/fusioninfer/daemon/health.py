"""The endpoints of the process, on one port: /healthz, /readyz and /metrics.

/healthz fails when only a restart helps. That the event loop turns is shown by there being an answer at all.

/readyz fails until every cache has been filled once, and never again. Nobody sends requests to an operator, so
readiness decides one thing: whether a roll-out of the operator goes on. A follower is ready, or a roll-out would wait
for the leader that it is about to replace; and an API server that went away is not mended by calling us unready.

/metrics is for whom `access` lets read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from fusioninfer.daemon.access import Access, Refusal
from fusioninfer.daemon.certificate import Certificate
from fusioninfer.daemon.rbac import METRICS_PATH

Check = Callable[[], Iterable[str]]
"""What is wrong, in words; nothing if all is well."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def application(*, wrong: Check, unready: Check, metrics: Callable[[], bytes], access: Access) -> web.Application:
    """The endpoints: `wrong` is what only a restart helps, `unready` what is still awaited after the start."""

    async def healthz(_: web.Request) -> web.Response:
        return _verdict(wrong())

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(unready())

    async def scrape(request: web.Request) -> web.Response:
        refusal = await access.refusal(request.headers.get("Authorization", ""))
        return _refused(refusal) if refusal else web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get(METRICS_PATH, scrape)])
    return app


@asynccontextmanager
async def serving(
    app: web.Application, bind_address: str, port: int, certificate: Certificate | None = None
) -> AsyncIterator[int]:
    """Serve `app`, by TLS if there is a certificate; the value is the port, a free one if `port` is 0.

    Raises OSError if it is taken.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    following = asyncio.create_task(certificate.follow()) if certificate else None
    try:
        context = certificate.context if certificate else None
        await web.TCPSite(runner, bind_address, port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        if following:
            following.cancel()
        await runner.cleanup()


def _verdict(faults: Iterable[str]) -> web.Response:
    lines = list(faults)
    return web.Response(status=503 if lines else 200, text="\n".join([*lines, "" if lines else "ok\n"]))


def _refused(refusal: Refusal) -> web.Response:
    asks = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return web.Response(status=refusal.status, headers=asks, text=f"{refusal.sentence}\n")
