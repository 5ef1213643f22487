"""`fusioninfer check`: what is asked of a cluster, and what may be missing."""

from __future__ import annotations

from typing import Any

import msgspec

from fusioninfer.cli.check import check, look_around
from fusioninfer.cli.terminal import console
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Request
from fusioninfer.reconcile.snapshot import SERVICES
from tests.cli.test_parts import FRESH, discovery


class Cluster:
    """Answers by path; forbids everything else."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {path.replace("__", "/"): answer for path, answer in answers.items()}

    async def send(self, request: Request) -> bytes:
        for end, answer in self.answers.items():
            if request.path.endswith(end):
                return msgspec.json.encode(answer)
        raise errors.Forbidden(errors.Status(code=403, message=f"no right to {request.path}"))

    def stream(self, request: Request) -> Any:
        raise NotImplementedError


async def test_who_may_see_one_namespace_alone_is_told_of_the_usual_one() -> None:
    lease = msgspec.to_builtins(FRESH)
    cluster = Cluster(__version={"gitVersion": "v1"}, __apis={}, **{"fusioninfer-system__leases__fusioninfer": lease})

    seen = await look_around(cluster)

    assert seen.leases == (FRESH,)
    assert seen.unread == ("Deployment: no right to /apis/apps/v1/deployments",)


async def test_who_may_see_nothing_but_the_kinds_gets_those() -> None:
    cluster = Cluster(__version={"gitVersion": "v1"}, __apis=msgspec.to_builtins(discovery(SERVICES)))

    assert await check(cluster, console()) == 0
