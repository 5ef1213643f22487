"""Who may read the metrics: this machine, a token in a file, whom the API server lets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fusioninfer.daemon import access
from fusioninfer.daemon.access import (
    ALLOWED_SECONDS,
    PATIENCE_SECONDS,
    REFUSED_SECONDS,
    REMEMBERED,
    ThisMachine,
    TokenFile,
    TokenReview,
)
from fusioninfer.kube import errors
from fusioninfer.kube.requests import Request
from tests import virtual

PROMETHEUS = {
    "username": "system:serviceaccount:monitoring:prometheus",
    "uid": "1",
    "groups": ["system:serviceaccounts"],
    "extra": {"authentication.kubernetes.io/pod-name": ["prometheus-0"]},
}


class Authority:
    """An API server that knows one token, and lets its owner read or not; it says no to all while it `fails`."""

    def __init__(self, *, token: str = "good", allowed: bool = True, takes: float = 0.0) -> None:
        self.token = token
        self.allowed = allowed
        self.takes = takes
        self.fails: errors.KubeError | None = None
        self.answer: bytes | None = None
        self.asked: list[Any] = []
        self.at_once = 0
        self.most_at_once = 0

    async def send(self, request: Request) -> bytes:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.at_once -= 1
        if self.fails is not None:
            raise self.fails
        body = json.loads(request.body)
        self.asked.append(body)
        assert request.method == "POST"
        assert request.path.endswith(f"/{body['kind'].lower()}s")
        return self.answer or json.dumps({"status": self._status(body)}).encode()

    def _status(self, body: Any) -> Any:
        if body["kind"] == "SubjectAccessReview":
            return {"allowed": self.allowed}
        if body["spec"]["token"] != self.token:
            return {"user": {}, "error": "[invalid bearer token, token lookup failed]"}
        return {"authenticated": True, "user": PROMETHEUS}

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        raise AssertionError("nothing is watched")
        yield b""


async def status_of(way: access.Access, authorization: str = "Bearer good") -> int:
    refusal = await way.refusal(authorization)
    return refusal.status if refusal else 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
async def test_this_machine_alone_may_read_without_a_token(address: str) -> None:
    assert await ThisMachine(address).refusal("") is None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.7", "example.com"])
async def test_where_others_can_ask_nobody_reads_without_a_token(address: str) -> None:
    refusal = await ThisMachine(address).refusal("")

    assert refusal is not None
    assert refusal.status == 403
    assert "--metrics-token-review" in refusal.sentence


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param("Bearer right", 200, id="right"),
        pytest.param("Bearer wrong", 401, id="wrong"),
        pytest.param("Bearer ", 401, id="empty"),
        pytest.param("right", 401, id="no scheme"),
        pytest.param("Bearer \u00fc", 401, id="not ASCII"),
        pytest.param("Bearer \udcff", 401, id="not even text"),
        pytest.param("", 401, id="none"),
    ],
)
async def test_the_token_in_the_file_is_asked_for(tmp_path: Path, authorization: str, status: int) -> None:
    file = tmp_path / "token"
    file.write_text("right\n")

    assert await status_of(TokenFile(file), authorization) == status


@pytest.mark.parametrize("content", [None, "", "\n"])
async def test_without_a_token_to_compare_with_nobody_reads(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)

    assert await TokenFile(file).refusal("Bearer ") is not None


@pytest.mark.parametrize(
    ("authorization", "allowed", "status"),
    [
        pytest.param("Bearer good", True, 200, id="known and allowed"),
        pytest.param("bearer  good ", True, 200, id="the scheme is no matter of case (RFC 9110, 11.1)"),
        pytest.param("Bearer good", False, 403, id="known, not allowed"),
        pytest.param("Bearer bad", True, 401, id="unknown"),
        pytest.param("Basic good", True, 401, id="another scheme"),
        pytest.param("good", True, 401, id="no scheme"),
        pytest.param("Bearer ", True, 401, id="empty"),
        pytest.param("Bearer \udcff", True, 401, id="not even text"),
        pytest.param("", True, 401, id="none"),
    ],
)
async def test_the_api_server_says_who_may_read(authorization: str, allowed: bool, status: int) -> None:
    assert await status_of(TokenReview(Authority(allowed=allowed)), authorization) == status


async def test_the_right_is_asked_for_whom_the_token_belongs_to() -> None:
    authority = Authority()

    await TokenReview(authority).refusal("Bearer good")

    assert [body["spec"] for body in authority.asked] == [
        {"token": "good"},
        {
            "user": PROMETHEUS["username"],
            "uid": "1",
            "groups": PROMETHEUS["groups"],
            "extra": PROMETHEUS["extra"],
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        },
    ]


async def test_who_may_not_read_is_told_what_is_missing() -> None:
    refusal = await TokenReview(Authority(allowed=False)).refusal("Bearer good")

    assert refusal is not None
    assert refusal.sentence == (
        "system:serviceaccount:monitoring:prometheus may not get /metrics: "
        "bind it to the ClusterRole fusioninfer-metrics-reader"
    )


async def test_without_a_token_the_api_server_is_not_troubled() -> None:
    authority = Authority()

    await TokenReview(authority).refusal("")

    assert authority.asked == []


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        pytest.param({"allowed": True}, {"allowed": False}, ALLOWED_SECONDS, id="right taken away"),
        pytest.param({"allowed": False}, {"allowed": True}, REFUSED_SECONDS, id="right given"),
        pytest.param({"token": "good"}, {"token": "other"}, ALLOWED_SECONDS, id="token withdrawn"),
        pytest.param({"token": "other"}, {"token": "good"}, REFUSED_SECONDS, id="token issued"),
    ],
)
async def test_an_answer_holds_for_its_time_and_no_longer(before: Any, after: Any, held: float) -> None:
    now = 0.0
    authority = Authority(**before)
    way = TokenReview(authority, monotonic=lambda: now)
    first = await status_of(way)
    for field, value in after.items():
        setattr(authority, field, value)

    now = held - 0.001
    assert await status_of(way) == first
    now = held
    assert await status_of(way) != first


FAILURES = [
    pytest.param(errors.Unreachable("connection refused"), 503, "connection refused", id="away"),
    pytest.param(errors.error_from(503, b"overloaded"), 503, "overloaded", id="overloaded"),
    pytest.param(errors.error_from(403, b"tokenreviews is forbidden"), 500, "tokenreviews is forbidden", id="no right"),
]


@pytest.mark.parametrize(("failure", "status", "says"), FAILURES)
async def test_an_api_server_that_says_nothing_lets_nobody_in(
    failure: errors.KubeError, status: int, says: str
) -> None:  # fmt: skip
    authority = Authority()
    authority.fails = failure

    refusal = await TokenReview(authority).refusal("Bearer good")

    assert refusal is not None
    assert refusal.status == status
    assert says in refusal.sentence


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html>", b'{"status": {"authenticated": true}}'])
async def test_nonsense_lets_nobody_in(answer: bytes) -> None:
    authority = Authority()
    authority.answer = answer

    assert await status_of(TokenReview(authority)) in (401, 503)


def test_an_api_server_that_hangs_is_waited_for_so_long() -> None:
    async def story() -> tuple[int, float]:
        status = await status_of(TokenReview(Authority(takes=60.0), monotonic=virtual.clock))
        return status, virtual.clock()

    assert virtual.run(story()) == (503, PATIENCE_SECONDS)


async def test_that_there_was_no_answer_is_not_remembered() -> None:
    authority = Authority()
    authority.fails = errors.Unreachable("away")
    way = TokenReview(authority)
    assert await status_of(way) == 503
    authority.fails = None

    assert await status_of(way) == 200


async def test_who_was_let_in_lately_reads_on_while_the_api_server_is_away() -> None:
    authority = Authority()
    way = TokenReview(authority)
    await status_of(way)
    authority.fails = errors.Unreachable("away")

    assert await status_of(way) == 200
    assert await status_of(way, "Bearer other") == 503


async def test_guesses_are_forgotten_before_they_fill_the_memory() -> None:
    way = TokenReview(Authority())
    await status_of(way)
    for guess in range(2 * REMEMBERED):
        await status_of(way, f"Bearer {guess}")

    assert len(way._remembered) == REMEMBERED


def test_tokens_are_not_kept() -> None:
    way = TokenReview(Authority(token="secret"))
    asyncio.run(status_of(way, "Bearer secret"))

    assert way._remembered
    assert "secret" not in repr(way._remembered)


@pytest.mark.parametrize(
    ("tokens", "questions"),
    [
        pytest.param(lambda index: "good", 2, id="the same token is asked for once"),
        pytest.param(str, 20, id="different ones one after the other"),
    ],
)
def test_many_at_once_ask_little(tokens: Callable[[int], str], questions: int) -> None:
    async def story() -> Authority:
        authority = Authority(takes=0.01)
        way = TokenReview(authority, monotonic=virtual.clock)
        await asyncio.gather(*(status_of(way, f"Bearer {tokens(index)}") for index in range(20)))
        return authority

    authority = virtual.run(story())
    assert (len(authority.asked), authority.most_at_once) == (questions, 1)
