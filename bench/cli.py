"""What the command line takes of a person's time: `python -m bench.cli`, or among the others by `make bench`.

The cluster is an API server in memory behind HTTP, with 1,000 services, each answer of which takes 200 ms more.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml
from aiohttp import web

from bench.figures import Figure
from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import Request
from fusioninfer.reconcile.snapshot import SERVICES
from tests import make
from tests.stories.played import a_server

OTHERS = 1000
CALL_SECONDS = 0.2
TIMES = 5
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass
class SlowCluster:
    """An API server far away."""

    asked: int = 0
    address: str = ""
    kube: requests.Kube = field(default_factory=a_server)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(CALL_SECONDS)
        try:
            body = await self.kube.send(Request(request.method, request.path, dict(request.query)))
        except errors.ApiError as error:
            return web.json_response(msgspec.to_builtins(error.status), status=error.status.code)
        return web.Response(body=body, content_type="application/json")

    async def fill(self) -> None:
        """The service that is looked at, and the others."""
        for name in ("qwen", *(f"other-{number}" for number in range(OTHERS))):
            raw = make.raw_service(name=name)
            manifest = {**raw, "metadata": {"name": name, "namespace": "default"}}
            await self.kube.send(requests.apply(SERVICES, manifest, manager="bench"))

    async def serve(self, ready: threading.Event, over: threading.Event) -> None:
        await self.fill()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await asyncio.to_thread(over.wait)
        await runner.cleanup()


@contextmanager
def a_slow_cluster() -> Iterator[tuple[SlowCluster, Path]]:
    """The cluster, and a kubeconfig for it."""
    cluster, ready, over = SlowCluster(), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(cluster.serve(ready, over)))
    thread.start()
    ready.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        config = {
            "current-context": "slow",
            "contexts": [{"name": "slow", "context": {"cluster": "slow"}}],
            "clusters": [{"name": "slow", "cluster": {"server": cluster.address}}],
        }
        path.write_text(yaml.safe_dump(config))
        try:
            yield cluster, path
        finally:
            over.set()
            thread.join()


def seconds(*words: str, kubeconfig: Path | None = None) -> float:
    """The middle of TIMES runs of a command, from its start to its end."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or "/nowhere")}
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fusioninfer", *words], env=environment, capture_output=True, check=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def figures() -> Iterator[Figure]:
    """All of it."""
    yield Figure(f"fusioninfer --help, median of {TIMES}", f"{seconds('--help'):.2f} s")
    yield Figure("fusioninfer lint of the examples", f"{seconds('lint', '-f', str(EXAMPLES)):.2f} s")
    with a_slow_cluster() as (cluster, kubeconfig):
        took = seconds("status", "qwen", kubeconfig=kubeconfig)
        asked = cluster.asked / TIMES
    where = f"fusioninfer status NAME, {OTHERS} services, {1000 * CALL_SECONDS:.0f} ms per call"
    yield Figure(where, f"{took:.2f} s", "≤ 2 s", took <= 2)
    yield Figure(f"{where}: requests", f"{asked:.0f}", "≤ 8", asked <= 8)


if __name__ == "__main__":
    for figure in figures():
        print(figure)
