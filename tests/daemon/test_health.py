"""The endpoints, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest

from fusioninfer.daemon.health import Access, application, serving


async def ask(
    path: str, *, wrong: Iterable[str] = (), unready: Iterable[str] = (), access: Access | None = None,
    authorization: str = "",
) -> tuple[int, str]:  # fmt: skip
    """Status and text that a process in such a state answers."""
    app = application(
        wrong=lambda: wrong, unready=lambda: unready, metrics=lambda: b"a 1\n", access=access or Access("127.0.0.1")
    )
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        serving(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
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


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
async def test_metrics_are_open_to_this_machine_alone(address: str) -> None:
    assert await ask("/metrics", access=Access(address)) == (200, "a 1\n")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.7", "example.com"])
async def test_metrics_are_closed_to_others_without_a_token(address: str) -> None:
    assert (await ask("/metrics", access=Access(address)))[0] == 403


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param("Bearer right", 200, id="right"),
        pytest.param("Bearer wrong", 401, id="wrong"),
        pytest.param("Bearer ", 401, id="empty"),
        pytest.param("right", 401, id="no scheme"),
        pytest.param("Bearer \u00fc", 401, id="not ASCII"),
        pytest.param("", 401, id="none"),
    ],
)
async def test_metrics_ask_for_the_token_in_the_file(tmp_path: Path, authorization: str, status: int) -> None:
    file = tmp_path / "token"
    file.write_text("right\n")

    assert (await ask("/metrics", access=Access("0.0.0.0", str(file)), authorization=authorization))[0] == status


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_metrics_are_closed_when_there_is_no_token_to_compare_with(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)

    assert Access("0.0.0.0", str(file)).refusal("Bearer ") is not None


async def test_taken_port_is_an_error() -> None:
    app = application(wrong=list, unready=list, metrics=bytes, access=Access("127.0.0.1"))
    async with serving(app, "127.0.0.1", 0) as port:
        other = application(wrong=list, unready=list, metrics=bytes, access=Access("127.0.0.1"))
        with pytest.raises(OSError, match=str(port)):
            async with serving(other, "127.0.0.1", port):
                pass
