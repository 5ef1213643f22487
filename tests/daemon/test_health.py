"""The endpoints, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp
import pytest

from fusioninfer.daemon.access import Access, Refusal, ThisMachine
from fusioninfer.daemon.health import application, serving


class Guarded:
    """Lets one word in."""

    async def refusal(self, authorization: str) -> Refusal | None:
        return None if authorization == "please" else Refusal(401, "say please")


async def ask(
    path: str, *, wrong: Iterable[str] = (), unready: Iterable[str] = (), access: Access | None = None,
    authorization: str = "",
) -> tuple[int, str]:  # fmt: skip
    """Status and text that a process in such a state answers."""
    app = application(
        wrong=lambda: wrong,
        unready=lambda: unready,
        metrics=lambda: b"a 1\n",
        access=access or ThisMachine("127.0.0.1"),
    )
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        serving(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        assert ("WWW-Authenticate" in response.headers) == (response.status == 401)
        return response.status, await response.text()


async def test_live_process_says_so() -> None:
    assert await ask("/healthz", unready=["Pod not listed yet"]) == (200, "ok\n")


async def test_what_only_a_restart_helps_is_named() -> None:
    assert await ask("/healthz", wrong=["the leader thread has ended"]) == (503, "the leader thread has ended\n")


async def test_what_is_awaited_is_named() -> None:
    assert await ask("/readyz", unready=["Pod not listed yet", "Service not listed yet"]) == (
        503,
        "Pod not listed yet\nService not listed yet\n",
    )


async def test_ready_process_says_so() -> None:
    assert await ask("/readyz") == (200, "ok\n")


async def test_anything_else_is_not_there() -> None:
    assert (await ask("/"))[0] == 404


async def test_metrics_are_told_to_whom_may_read_them() -> None:
    assert await ask("/metrics", access=Guarded(), authorization="please") == (200, "a 1\n")
    assert await ask("/metrics", access=Guarded(), authorization="now") == (401, "say please\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_ask_for_no_token(path: str) -> None:
    assert (await ask(path, access=Guarded()))[0] == 200


async def test_taken_port_is_an_error() -> None:
    app = application(wrong=list, unready=list, metrics=bytes, access=ThisMachine("127.0.0.1"))
    async with serving(app, "127.0.0.1", 0) as port:
        other = application(wrong=list, unready=list, metrics=bytes, access=ThisMachine("127.0.0.1"))
        with pytest.raises(OSError, match=str(port)):
            async with serving(other, "127.0.0.1", port):
                pass
