"""The Envoy of a router without a gateway: its configuration, run by the real Envoy on the loopback address."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.build.router import envoy
from testbed.envoy import IMAGE, program
from tests.build.router.loopback import MORE_SECONDS, PARTS, a_way

ROUTING_HEADERS = (
    "x-gateway-destination-endpoint",
    "x-gateway-destination-endpoint-subset",
    "x-gateway-destination-endpoint-served",
    "x-gateway-destination-endpoint-of-tomorrow",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
)
OF_ENVOY = ("x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on", "x-envoy-original-dst-host")


# --- what it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access_log", [False, True])
def test_the_real_envoy_takes_it(access_log: bool) -> None:
    words = envoy.envoy_arguments(envoy.envoy_config(access_log=access_log))

    done = subprocess.run([program(), "--mode", "validate", *words], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_it_is_checked_by_the_release_that_runs_it() -> None:
    told = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout

    assert f"/{envoy.VERSION}/" in told
    assert IMAGE == envoy.ENVOY_IMAGE


def test_it_is_one_word_that_kubernetes_leaves_as_it_is() -> None:
    flag, text, *_ = envoy.envoy_arguments()

    assert flag == "--config-yaml"
    assert json.loads(text) == envoy.envoy_config()
    assert "$" not in text
    assert "\n" not in text


def test_the_admin_is_not_reachable_from_outside() -> None:
    config = envoy.envoy_config()

    assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_no_cluster_limits_requests_below_the_connections_that_are_taken() -> None:
    picker, engines = (_cluster(envoy.envoy_config(), name) for name in ("picker", "engines"))

    for cluster in (picker, engines):
        (limits,) = cluster["circuit_breakers"]["thresholds"]
        assert min(limits.values()) > envoy.CONNECTIONS


@pytest.mark.parametrize(("grace", "pause"), [(60, 55), (5, 1), (1, 1)])
def test_envoy_is_told_of_the_end_as_late_as_may_be(grace: int, pause: int) -> None:
    assert envoy.pause_seconds(grace) == pause


# --- where requests go --------------------------------------------------------------------------------------------


async def test_a_request_goes_where_the_picker_says(tmp_path: Path) -> None:
    async with a_way(tmp_path) as way:
        posted = await way.ask("/v1//chat/completions?a=b", body=b'{"model":"m"}', headers={"X-Request-Id": "mine"})
        got = await way.ask("/v1/models/org%2Fmodel", body=None)

    assert [posted.status, got.status] == [200, 200]
    assert [path for path, _, _ in way.engine.asked] == ["/v1/chat/completions?a=b", "/v1/models/org%2Fmodel"]
    assert [asked[":path"] for asked in way.picker.asked] == [path for path, _, _ in way.engine.asked]
    assert way.engine.asked[0][1]["x-request-id"] == "mine"
    assert way.engine.asked[0][2] == b'{"model":"m"}'


async def test_routing_headers_of_a_client_reach_nobody(tmp_path: Path) -> None:
    spoofed = {name.title(): "127.0.0.1:1" for name in ROUTING_HEADERS}
    others = {**dict.fromkeys(OF_ENVOY, "1"), "x_gateway_destination_endpoint": "127.0.0.1:1"}
    async with a_way(tmp_path) as way:
        answer = await way.ask(headers={**spoofed, **others, MORE_SECONDS: "0.1"})

    assert answer.status == 200
    (asked,), ((_, reached, _),) = way.picker.asked, way.engine.asked
    forbidden = {*ROUTING_HEADERS, *OF_ENVOY, "x_gateway_destination_endpoint"}
    assert forbidden & asked.keys() == set()
    assert forbidden & reached.keys() == {"x-gateway-destination-endpoint"}
    assert reached["x-gateway-destination-endpoint"] == way.picker.address


async def test_over_http2_they_reach_nobody_either(tmp_path: Path) -> None:
    headers = [(name, "127.0.0.1:1") for name in ROUTING_HEADERS] * 2
    async with a_way(tmp_path) as way, httpx2.AsyncClient(http1=False, http2=True) as client:
        answer = await client.post(f"{way.url}/v1/completions", content=b"{}", headers=headers)

    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
    assert set(ROUTING_HEADERS) & way.picker.asked[0].keys() == set()


@pytest.mark.parametrize("body", [b"{}", None], ids=["POST", "GET"])
async def test_what_the_picker_gives_no_address_goes_nowhere(tmp_path: Path, body: bytes | None) -> None:
    async with a_way(tmp_path) as way:
        way.picker.address = ""
        answer = await way.ask(body=body, headers={"x-gateway-destination-endpoint": f"127.0.0.1:{way.engine.port}"})

    assert answer.status == 503
    assert way.engine.asked == []


async def test_an_engine_that_is_gone_is_503(tmp_path: Path) -> None:
    async with a_way(tmp_path) as way:
        way.picker.address = "127.0.0.1:1"
        answer = await way.ask()

    assert answer.status == 503
    assert answer.seconds < 1
    assert len(way.picker.asked) == 1  # the retry asks nobody for another address


# --- bodies and streams -------------------------------------------------------------------------------------------


async def test_a_body_of_20_mib_arrives_whole_in_pieces_that_grpc_takes(tmp_path: Path) -> None:
    body = bytes(range(256)) * (20 * 4096)
    async with a_way(tmp_path) as way:
        answer = await way.ask(body=body)

    assert answer.status == 200
    assert way.engine.asked[0][2] == body
    assert way.picker.largest_message_bytes < 4 * 1024 * 1024


async def test_a_stream_arrives_part_by_part(tmp_path: Path) -> None:
    async with a_way(tmp_path) as way, way.client.post(way.url, data=b"{}", headers={PARTS: "3"}) as response:
        first = await response.content.readuntil(b"\n\n")
        is_done = response.content.at_eof()
        rest = await response.content.read()

    assert (first, is_done) == (b"data: 0\n\n", False)
    assert rest == b"data: 1\n\ndata: 2\n\n"


async def test_a_connection_is_told_to_end_after_a_while_and_never_within_an_answer(tmp_path: Path) -> None:
    async with a_way(tmp_path, _quick_connections) as way:
        first = await way.ask()
        streamed = await way.ask(headers={PARTS: "13"})
        last = await way.ask()

    assert [answer.headers.get("connection") == "close" for answer in (first, streamed, last)] == [False, False, True]
    assert streamed.text.count("data:") == 13


async def test_more_connections_than_there_may_be_are_closed_and_the_kubelet_still_has_its_own(tmp_path: Path) -> None:
    async with a_way(tmp_path, _few_connections) as way:
        held = [await asyncio.open_connection("127.0.0.1", way.at.entry) for _ in range(2)]
        for reader, writer in held:  # with an answer Envoy has taken the connection, and not only the kernel
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
            assert (await reader.readline()).startswith(b"HTTP/1.1 ")
        with pytest.raises(aiohttp.ClientError):
            await way.ask()
        ready = await way.probe(envoy.READY_PATH)
        for _, writer in held:
            writer.close()

    assert ready == 200


# --- a picker in trouble ------------------------------------------------------------------------------------------


async def test_without_a_picker_it_is_503_at_once_until_there_is_one(tmp_path: Path) -> None:
    async with a_way(tmp_path, picks=False) as way:
        answer = await way.ask()
        before = [await way.probe(path) for path in (envoy.ALIVE_PATH, envoy.READY_PATH)]
        await way.picker.start(way.at.picker, way.at.health)
        await way.await_probe(envoy.READY_PATH, 200)
        await way.await_answer()

    assert answer.status == 503
    assert answer.seconds < 1
    assert before == [200, 503]


async def test_a_picker_that_was_killed_is_503_at_once(tmp_path: Path) -> None:
    async with a_way(tmp_path) as way:
        await way.ask()
        await way.picker.stop()
        answer = await way.ask()

    assert answer.status == 503
    assert answer.seconds < 1
    assert len(way.engine.asked) == 1


@pytest.mark.parametrize("body", [b"{}", None], ids=["POST", "GET"])
async def test_a_picker_that_hangs_is_504_in_bounded_time(tmp_path: Path, body: bytes | None) -> None:
    async with a_way(tmp_path, _without_health_checks, pick_seconds=1) as way:
        way.picker.hang()
        answer = await way.ask(body=body)

    assert answer.status == 504
    assert 1.5 < answer.seconds < 4


async def test_a_picker_that_hangs_is_found_and_asked_no_more_until_it_goes_on(tmp_path: Path) -> None:
    async with a_way(tmp_path, _quick_health_checks) as way:
        await way.ask()
        way.picker.hang()
        await way.await_probe(envoy.READY_PATH, 503)
        answer = await way.ask()
        alive = await way.probe(envoy.ALIVE_PATH)
        way.picker.go_on()
        await way.await_probe(envoy.READY_PATH, 200)
        await way.await_answer()

    assert answer.status == 503
    assert answer.seconds < 1
    assert alive == 200


async def test_a_long_silence_after_the_pick_is_no_hanging_picker(tmp_path: Path) -> None:
    async with a_way(tmp_path, pick_seconds=1) as way:
        silent, streamed = await asyncio.gather(way.ask(headers={MORE_SECONDS: "3"}), way.ask(headers={PARTS: "30"}))

    assert (silent.status, silent.text) == (200, "answered")
    assert streamed.text.count("data:") == 30


# --- what is seen of it -------------------------------------------------------------------------------------------


async def test_of_the_admin_only_metrics_are_to_be_had(tmp_path: Path) -> None:
    async with a_way(tmp_path) as way:
        metrics, *others = [await way.probe(path) for path in (envoy.METRICS_PATH, "/config_dump", "/quitquitquit")]

    assert metrics == 200
    assert others == [404, 404]


async def test_it_says_nothing_of_a_request(tmp_path: Path) -> None:
    async with a_way(tmp_path) as way:
        await way.ask()

    assert way.output.read_text() == ""
    assert "access_log" not in json.dumps(envoy.envoy_config())


# --- changes, so that a test need not wait ------------------------------------------------------------------------


def _cluster(config: Manifest, name: str) -> Manifest:
    clusters: list[Manifest] = config["static_resources"]["clusters"]
    return next(cluster for cluster in clusters if cluster["name"] == name)


def _quick_connections(config: Manifest) -> None:
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    chain["filters"][0]["typed_config"]["common_http_protocol_options"]["max_connection_duration"] = "1s"


def _few_connections(config: Manifest) -> None:
    monitors: list[dict[str, Any]] = config["overload_manager"]["resource_monitors"]
    monitors[0]["typed_config"]["max_active_downstream_connections"] = 2


def _without_health_checks(config: Manifest) -> None:
    _cluster(config, "picker")["health_checks"][0] |= {"timeout": "60s"}


def _quick_health_checks(config: Manifest) -> None:
    times = dict.fromkeys(("timeout", "interval", "no_traffic_interval", "unhealthy_interval"), "0.3s")
    _cluster(config, "picker")["health_checks"][0] |= times
