"""The names that LeaderWorkerSet gives to its own objects must be free before we ask it for any."""

from __future__ import annotations

import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.kube import requests
from fusioninfer.reconcile.derived_names import holder
from fusioninfer.reconcile.snapshot import ENTRIES, STATEFUL_SETS
from tests.stories.played import NAMESPACE, a_server

SPECS: dict[str, Manifest] = {
    "Service": {"ports": [{"port": 80}]},
    "StatefulSet": {
        "serviceName": "x",
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}


@pytest.mark.parametrize(
    ("kind", "name", "is_in_the_way"),
    [
        ("Service", "qwen-inference", True),
        ("Service", "qwen", False),
        ("Service", "qwen-inference-0", False),
        ("StatefulSet", "qwen-inference", True),
        ("StatefulSet", "qwen-inference-0", True),
        ("StatefulSet", "qwen-inference-17", True),
        ("StatefulSet", "qwen-inference-0-1", False),
        ("StatefulSet", "qwen-inference-a", False),
        ("StatefulSet", "qwen-inferences", False),
    ],
)
async def test_who_holds_a_name_that_an_lws_would_use(kind: str, name: str, is_in_the_way: bool) -> None:
    server, resource = a_server(), ENTRIES if kind == "Service" else STATEFUL_SETS
    manifest = {
        "apiVersion": resource.api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": SPECS[kind],
    }
    await server.send(requests.apply(resource, manifest, manager="stranger"))

    found = await holder(server, NAMESPACE, "qwen-inference")

    assert (found is not None) is is_in_the_way
    if found is not None:
        assert (found.kind, found.metadata.name) == (kind, name)


async def test_every_page_is_looked_at() -> None:
    server = a_server()
    for index in range(501):
        manifest: Manifest = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": f"a-{index:03}" if index < 500 else "z-0", "namespace": NAMESPACE},
            "spec": SPECS["StatefulSet"],
        }
        await server.send(requests.apply(STATEFUL_SETS, manifest, manager="x"))

    found = await holder(server, NAMESPACE, "z")

    assert found is not None
    assert found.metadata.name == "z-0"
