"""The Lease (coordination.k8s.io/v1) that candidates write their names on: read, and written by server-side apply.

Seen on API server 1.36.3: guarded by uid and resourceVersion, an apply answers 409 to every other state of the
object, also if it is absent; guarded by a stale resourceVersion alone it makes an absent object anew.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from fusioninfer.kube import errors, requests
from fusioninfer.kube.objects import ObjectMeta
from fusioninfer.kube.requests import ABSENT, Kube, Manifest, Resource

# ruff: noqa: N815 - the names are the wire's

LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
WATCH_SECONDS = 300
"""How long a watch is asked to last."""
MANAGER = "fusioninfer-leader"
"""Field manager of the Lease."""


class LeaseSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who holds it. The times are those of the holder's own clock: for people to read, never to be compared."""

    holderIdentity: str | None = None
    leaseDurationSeconds: int | None = None
    acquireTime: str | None = None
    renewTime: str | None = None
    leaseTransitions: int | None = None


class Lease(msgspec.Struct, frozen=True):
    """A Lease, as far as elections need it."""

    metadata: ObjectMeta
    spec: LeaseSpec = LeaseSpec()

    @property
    def holder(self) -> str:
        """The identity of who holds it; empty if nobody does."""
        return self.spec.holderIdentity or ""

    @property
    def version(self) -> tuple[str, str]:
        """Another whenever it was written."""
        return self.metadata.uid, self.metadata.resourceVersion


def claimed(seen: Lease | None, identity: str, lease_seconds: float, now: datetime) -> LeaseSpec:
    """What `identity` writes to take, make or renew the Lease that was `seen`."""
    ours = seen is not None and seen.holder == identity
    before = seen.spec if seen is not None else LeaseSpec(leaseTransitions=-1)
    return LeaseSpec(
        holderIdentity=identity,
        leaseDurationSeconds=math.ceil(lease_seconds),
        acquireTime=before.acquireTime if ours else micro_time(now),
        renewTime=micro_time(now),
        leaseTransitions=(before.leaseTransitions or 0) + (0 if ours else 1),
    )


def released(seen: Lease, now: datetime) -> LeaseSpec:
    """What the holder writes to give the Lease up, as client-go does: free at once, and expired for who counts."""
    return LeaseSpec(
        holderIdentity="",
        leaseDurationSeconds=1,
        acquireTime=micro_time(now),
        renewTime=micro_time(now),
        leaseTransitions=seen.spec.leaseTransitions,
    )


async def read(kube: Kube, namespace: str, name: str) -> Lease | None:
    """The Lease as it is now; None if there is none."""
    try:
        return msgspec.json.decode(await kube.send(requests.get(LEASES, namespace, name)), type=Lease)
    except errors.NotFound:
        return None


async def changes(kube: Kube, namespace: str, name: str) -> AsyncIterator[None]:
    """One item at once and one for every change, until the API server ends the watch; raises as `Kube.stream`."""
    request = requests.watch(LEASES, namespace, name=name, resource_version="", timeout_seconds=WATCH_SECONDS)
    async for _ in kube.stream(request):
        yield None


async def write(kube: Kube, namespace: str, name: str, spec: LeaseSpec, seen: Lease | None) -> Lease:
    """Write `spec` if the Lease still is as `seen`; raises errors.Conflict if it is not."""
    guard = ABSENT if seen is None else {"uid": seen.metadata.uid, "resourceVersion": seen.metadata.resourceVersion}
    manifest: Manifest = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": name, "namespace": namespace, **guard},
        "spec": spec,
    }
    return msgspec.json.decode(await kube.send(requests.apply(LEASES, manifest, manager=MANAGER)), type=Lease)


def micro_time(moment: datetime) -> str:
    """`moment` (UTC) as meta/v1 MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
