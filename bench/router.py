"""What a router adds to a request, beside the usual shape of such an Envoy, in one run.

Two Deployments of the same images with the same picker and the same arguments, but for Envoy's configuration: the one
that the operator made, and a copy of it with as little in it as sends a request where the picker says.
"""

from __future__ import annotations

import copy
import gc
import http.client
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.cluster.harness import Manifest, Namespace, address, chat_or_nothing, routed

NAME, REFERENCE = "bench", "reference"
WARM, ROUNDS = 200, 2000
ENTRY_PORT, PICKER_PORT = 8081, 9002

_TYPES = "type.googleapis.com/envoy.extensions"


@dataclass(frozen=True, slots=True)
class Added:
    """Milliseconds that a way takes longer than the median of a request to the engine itself."""

    p50: float
    p99: float


def added(namespace: Namespace) -> tuple[Added, Added]:
    """By our router, and by the reference; an operator is running."""
    namespace.apply(routed(NAME))
    namespace.wait_ready(NAME, 120)
    namespace.apply(*reference(namespace.get("deployment", f"{NAME}-entry")))
    namespace("rollout", "status", f"deployment/{REFERENCE}", "--timeout=120s")
    (engine,) = namespace.list("pods", "-l", f"fusioninfer.io/service={NAME},fusioninfer.io/serving=true")
    ways = {
        "direct": f"{engine['status']['podIP']}:8000",
        "ours": address(namespace, NAME),
        REFERENCE: address(namespace, REFERENCE),
    }
    for where in ways.values():
        namespace.wait(partial(chat_or_nothing, where), bool, f"an answer of {where}", 60)
    took = latencies(ways)
    direct = statistics.median(took["direct"])
    ours, theirs = (_added(took[way], direct) for way in ("ours", REFERENCE))
    return ours, theirs


def _added(took: list[float], direct: float) -> Added:
    return Added(statistics.median(took) - direct, statistics.quantiles(took, n=100)[98] - direct)


def latencies(ways: Mapping[str, str]) -> dict[str, list[float]]:
    """Milliseconds of each request, one after the other, each way in turn, over connections that are kept."""
    clients = {way: http.client.HTTPConnection(where, timeout=30) for way, where in ways.items()}
    found: dict[str, list[float]] = {way: [] for way in ways}
    turn = list(clients)
    gc.collect()
    gc.disable()
    try:
        for number in range(WARM + ROUNDS):
            turn = [*turn[1:], turn[0]]
            for way in turn:
                milliseconds = _ask(clients[way])
                if number >= WARM:
                    found[way].append(milliseconds)
    finally:
        gc.enable()
        for client in clients.values():
            client.close()
    return found


_ASKED = json.dumps({"model": "qwen", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}).encode()


def _ask(client: http.client.HTTPConnection) -> float:
    if client.sock is None:  # a router ends a connection now and then, with an answer; a new one is no part of it
        client.connect()
    started = time.perf_counter()
    client.request("POST", "/v1/chat/completions", _ASKED, {"Content-Type": "application/json"})
    answer = client.getresponse()
    answer.read()
    took = time.perf_counter() - started
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} of {client.host}")
    return 1000 * took


def reference(ours: Manifest) -> tuple[Manifest, Manifest]:
    """The Deployment `ours` with the reference's configuration, and a Service for it."""
    labels = {"app": REFERENCE}
    template = copy.deepcopy(ours["spec"]["template"])
    template["metadata"] = {"labels": labels}
    (envoy,) = template["spec"]["containers"]
    envoy["args"][envoy["args"].index("--config-yaml") + 1] = json.dumps(reference_config())
    envoy.pop("livenessProbe")
    envoy["readinessProbe"] = {"tcpSocket": {"port": ENTRY_PORT}, "periodSeconds": 2}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": REFERENCE},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": REFERENCE},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": ENTRY_PORT}]},
    }
    return deployment, service


def reference_config() -> Manifest:
    """One listener, one route, two clusters; all else as Envoy has it by itself."""
    whole_day = "86400s"
    ask = {
        "@type": f"{_TYPES}.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}},
        "failure_mode_allow": False,
        "message_timeout": "1000s",
        "processing_mode": {
            **dict.fromkeys(("request_header_mode", "response_header_mode"), "SEND"),
            **dict.fromkeys(("request_trailer_mode", "response_trailer_mode"), "SEND"),
            **dict.fromkeys(("request_body_mode", "response_body_mode"), "FULL_DUPLEX_STREAMED"),
        },
    }
    route = {"cluster": "engines", "timeout": whole_day, "idle_timeout": whole_day}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "entry",
        "http_filters": [
            {"name": "ext_proc", "typed_config": ask},
            {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
    }
    speaks_http2 = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    picker = {
        "name": "picker",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "picker",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _at("127.0.0.1", PICKER_PORT)}}]}],
        },
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": speaks_http2},
    }
    engines = {
        "name": "engines",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": {
            "use_http_header": True,
            "http_header_name": "x-gateway-destination-endpoint",
        },
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "entry", "address": _at("0.0.0.0", ENTRY_PORT), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [picker, engines]}}


def _at(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
