"""A client that knows beforehand what is to be written, and writes it as fast as the API server takes it."""

from __future__ import annotations

import asyncio
import time

import msgspec

from fusioninfer.api import types
from fusioninfer.api.parse import parse
from fusioninfer.build.desired import desired_objects
from fusioninfer.build.engines import installed
from fusioninfer.build.router import strategies
from fusioninfer.kube import requests
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Connection
from fusioninfer.kube.requests import Manifest, Request, Resource
from fusioninfer.reconcile.plan import signed
from fusioninfer.reconcile.snapshot import CHILDREN, SERVICES
from tests.cluster.harness import a_service, nothing_runs

WRITERS = 16
"""As many as the operator has workers."""
MANAGER = "bench"


def service(number: int) -> Manifest:
    return a_service(f"svc-{number:03d}", template=nothing_runs(), replicas=1)


def written(number: int, namespace: str) -> Request:
    """The user's apply of one service."""
    return requests.apply(SERVICES, _in(namespace, service(number)), manager=MANAGER)


def _in(namespace: str, manifest: Manifest) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


async def services_and_children(connection: Connection, namespace: str, number: int) -> float:
    """Seconds to write `number` services and, after each, its children side by side."""
    plugins = installed(), strategies.installed()
    known = [desired_objects(parse(_in(namespace, service(n))), *plugins) for n in range(number)]
    async with Client(connection) as client:
        numbers = iter(range(number))

        async def write() -> None:
            for n in numbers:
                body = await client.send(written(n, namespace))
                uid = msgspec.json.decode(body)["metadata"]["uid"]
                await asyncio.gather(*(client.send(_child(manifest, uid)) for manifest in known[n].manifests))

        start = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(WRITERS)))
        return time.perf_counter() - start


def _child(manifest: Manifest, uid: str) -> Request:
    signed_manifest = signed(manifest)
    owner = {**signed_manifest["metadata"]["ownerReferences"][0], "uid": uid, "apiVersion": types.API_VERSION}
    metadata = {**signed_manifest["metadata"], "ownerReferences": [owner]}
    resource = CHILDREN[manifest["apiVersion"], manifest["kind"]]
    return requests.apply(resource, {**signed_manifest, "metadata": metadata}, manager=MANAGER)


async def services_until_children(connection: Connection, namespace: str, number: int) -> float:
    """Seconds from the first service written until the operator has made the last child."""
    wanted = [(resource, number) for resource in CHILDREN.values()]
    async with Client(connection) as client:
        watches = [asyncio.create_task(_count(client, resource, namespace, count)) for resource, count in wanted]
        await asyncio.sleep(0.5)  # the watches are open before the first write
        numbers = iter(range(number))

        async def write() -> None:
            for n in numbers:
                await client.send(written(n, namespace))

        start = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(WRITERS)))
        return max(await asyncio.gather(*watches)) - start


async def _count(client: Client, resource: Resource, namespace: str, number: int) -> float:
    """The moment at which the watch has shown `number` new objects."""
    listed = msgspec.json.decode(await client.send(requests.list_page(resource, namespace)))
    version = listed["metadata"]["resourceVersion"]
    watch = requests.watch(resource, namespace, resource_version=version, timeout_seconds=300)
    added = 0
    async for line in client.stream(watch):
        added += line.startswith(b'{"type":"ADDED"')
        if added == number:
            return time.perf_counter()
    raise TimeoutError(f"{added} of {number} {resource.plural}")


async def first_child_latencies(connection: Connection, namespace: str, number: int) -> list[float]:
    """For `number` services, one after the other: seconds from the answer to the user's apply to the first child."""
    seen: dict[str, asyncio.Future[float]] = {}
    async with Client(connection) as client:
        watches = [asyncio.create_task(_note(client, kind, namespace, seen)) for kind in CHILDREN.values()]
        await asyncio.sleep(0.5)
        latencies = []
        for n in range(number):
            seen[f"svc-{n:03d}"] = asyncio.get_running_loop().create_future()
            await client.send(written(n, namespace))
            start = time.perf_counter()
            latencies.append(await seen[f"svc-{n:03d}"] - start)
            await asyncio.sleep(0.5)  # an idle cluster
        for watch in watches:
            watch.cancel()
    return latencies


async def _note(client: Client, kind: Resource, namespace: str, seen: dict[str, asyncio.Future[float]]) -> None:
    """Fill in the moment at which the first child of each service is seen."""
    listed = msgspec.json.decode(await client.send(requests.list_page(kind, namespace)))
    version = listed["metadata"]["resourceVersion"]
    watch = requests.watch(kind, namespace, resource_version=version, timeout_seconds=300)
    async for line in client.stream(watch):
        name = msgspec.json.decode(line)["object"]["metadata"]["labels"].get("fusioninfer.io/service")
        if name in seen and not seen[name].done():
            seen[name].set_result(time.perf_counter())
