"""Envoy's whole configuration, for a router without a gateway: which requests it takes, what the picker is told of
them, where they may go, and how long anything may last.

    client ── :8081 ── headers removed ── picker (gRPC) ── the address that the picker wrote ── engine
    kubelet ── :19001 ── /ready: every listener is there, and the picker says that it serves

It is static and passed as an argument; JSON is YAML. The fields are those of Envoy 1.40's v3 API.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fusioninfer.api.service import Manifest
from fusioninfer.build.router import ports

VERSION = "1.40.0"
ENVOY_IMAGE = f"docker.io/envoyproxy/envoy:distroless-v{VERSION}"
"""Its entry point is Envoy, its user is no root, and it has no shell."""

READY_PATH = "/ready"
ALIVE_PATH = "/alive"
METRICS_PATH = "/stats/prometheus"

DESTINATION_HEADER = "x-gateway-destination-endpoint"
"""Where a request goes, in the picker's words; it decides the address, so it comes from nobody else."""
REMOVED_PREFIXES = (DESTINATION_HEADER, "x-envoy-")
"""Of a client's headers: the destination with all that begins like it, and what would change time-outs and retries."""
REMOVED_HEADERS = (
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
)
"""Further addresses that the picker may write, and a sidecar or an engine would go to."""

CONCURRENCY = 2
"""Worker threads; its own default is one for each core of the node, whatever the container may use."""
CONNECTIONS = 10_000
"""Of clients, at once; one more is closed when it comes."""
HEAP_BYTES = 1024 * 1024 * 1024
"""Some 80 KiB for each request that is under way. Near it, new ones are answered 503; else the kernel would end Envoy,
and with it every stream."""
BUFFER_BYTES = 256 * 1024
"""What waits on each side of a connection; no limit to a body, which goes on in pieces. A picker takes no piece of more
than 4 MiB: gRPC's own limit for a message."""

UPLOAD_SECONDS = 300
"""From a request's first byte to its last."""
PICK_SECONDS = 30
"""What a picker that says nothing gets, twice: Envoy's own answer is shown to the picker like any other, and waits for
it; the second one passes it by. A request without a body must have the first byte of its answer in this time."""
IDLE_SECONDS = 3600
"""Without a byte in either direction, once a pod is picked: what is not streamed is silent until it is whole."""
CONNECT_SECONDS = 5
CONNECTION_SECONDS = 10
"""After so long a client's connection is told to end with its next answer. A pod that ends gets no new connections, and
so after this time hardly any new requests either: nobody needs to tell Envoy that it will end. (Some clients of HTTP/2,
httpx for one, fail what they await when they are told so, be it ever so politely; for HTTP/1.1 it is harmless.)"""
KEEP_SECONDS = 4
"""How long an idle connection to an engine is kept: less than the 5 seconds after which uvicorn closes it, since a
request that meets the closing is lost, and must not be repeated."""

EXIT_SECONDS = 5
"""Left to the picker, which ends after Envoy."""

_UNLIMITED = 1_000_000
"""Of what Envoy limits to 1024 (or 3 retries) by itself; clients' connections are limited above."""
_LOOPBACK = "127.0.0.1"
_PICKER, _ENGINES, _ADMIN = "picker", "engines", "admin"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where Envoy listens, and where the picker does."""

    entry: int = ports.ENTRY_PORT
    ready: int = ports.READY_PORT
    admin: int = 19000
    """On the loopback address only."""
    picker: int = ports.PICKER_PORT
    health: int = ports.HEALTH_PORT


PORTS = Ports()


def pause_seconds(grace_seconds: int) -> int:
    """How long a pod's end is kept from Envoy, by a preStop sleep: at SIGTERM it is gone, with all that it streams.

    Sent away by CONNECTION_SECONDS, clients have gone to other pods long before; what is left is to finish.
    """
    return max(grace_seconds - EXIT_SECONDS, min(grace_seconds, 1))


def envoy_arguments(config: Manifest | None = None) -> tuple[str, ...]:
    """The words after the image's entry point."""
    text = json.dumps(envoy_config() if config is None else config, separators=(",", ":"))
    return (
        "--config-yaml",
        text,
        "--concurrency",
        str(CONCURRENCY),
        "--log-level",
        "warning",
        "--disable-hot-restart",  # which wants shared memory, and a name that no second Envoy in the pod has
    )


def envoy_config(at: Ports = PORTS, *, pick_seconds: int = PICK_SECONDS, access_log: bool = False) -> Manifest:
    """The configuration; with `access_log` every request is a line on stdout."""
    return {
        "admin": {"address": _address(_LOOPBACK, at.admin), "ignore_global_conn_limit": True},
        "static_resources": {
            "listeners": [_entry(at.entry, pick_seconds, access_log=access_log), _readiness(at.ready)],
            "clusters": [_picker(at), _engines(), _admin(at.admin)],
        },
        "overload_manager": _overload(),
    }


# --- where requests come in ---------------------------------------------------------------------------------------


def _entry(port: int, pick_seconds: int, *, access_log: bool) -> Manifest:
    logs = {"access_log": [_ACCESS_LOG]} if access_log else {}
    return {
        "name": "entry",
        "address": _address("0.0.0.0", port),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [_http({**_requests(pick_seconds), **logs})],
    }


def _requests(pick_seconds: int) -> Manifest:
    return {
        "stat_prefix": "entry",
        "early_header_mutation_extensions": [_removal()],
        "http_filters": [_ask_the_picker(), _router()],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": _routes(pick_seconds)}]},
        # the client: its address is the connection's, and what it says of earlier hops is kept and added to
        "use_remote_address": True,
        "preserve_external_request_id": True,  # engines log it
        "server_header_transformation": "PASS_THROUGH",
        # the path: what the picker reads is what the engine gets; %2F in a model's name stays as it is
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        # the protocol: HTTP/1.1, and HTTP/2 without TLS for those that begin with it
        "codec_type": "AUTO",
        "http2_protocol_options": {
            "max_concurrent_streams": 1024,
            "initial_stream_window_size": BUFFER_BYTES,
            "initial_connection_window_size": 4 * BUFFER_BYTES,
        },
        "common_http_protocol_options": {
            "headers_with_underscores_action": "DROP_HEADER",  # some servers take them for dashes
            "max_connection_duration": _seconds(CONNECTION_SECONDS),
        },
        # else an HTTP/1.1 connection would be closed between two requests, one of which may be on its way
        "http1_safe_max_connection_duration": True,
        "request_headers_timeout": _seconds(10),
        "request_timeout": _seconds(UPLOAD_SECONDS),
        "stream_idle_timeout": _seconds(pick_seconds),  # each route has its own
    }


def _removal() -> Manifest:
    """Before the route, and before any filter: what comes later may write them."""
    removed = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in REMOVED_PREFIXES]
    return _extension(
        "early_header_mutation.header_mutation",
        "http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*removed, *({"remove": name} for name in REMOVED_HEADERS)],
    )


def _routes(pick_seconds: int) -> list[Manifest]:
    """Two, to tell by the header that the picker writes whether it has answered; until then a request may wait only a
    little. In full-duplex mode, the one that pickers speak, ext_proc's own `message_timeout` never runs.

    A retry goes to the same address: for another one the picker would have to be asked, which a client does by asking
    again. So only what failed before the engine had the request is tried once more.
    """
    going: Manifest = {"cluster": _ENGINES, "timeout": "0s"}
    retried = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 1}
    picked = {"prefix": "/", "headers": [{"name": DESTINATION_HEADER, "present_match": True}]}
    return [
        {"match": picked, "route": {**going, "idle_timeout": _seconds(IDLE_SECONDS), "retry_policy": retried}},
        {"match": {"prefix": "/"}, "route": {**going, "idle_timeout": _seconds(pick_seconds)}},
    ]


def _ask_the_picker() -> Manifest:
    return _extension(
        "filters.http.ext_proc",
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": _PICKER}},
        processing_mode={
            "request_header_mode": "SEND",
            "request_body_mode": "FULL_DUPLEX_STREAMED",
            "request_trailer_mode": "SEND",
            "response_header_mode": "SEND",
            "response_body_mode": "FULL_DUPLEX_STREAMED",
            "response_trailer_mode": "SEND",
        },
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        route_cache_action="CLEAR",  # what was picked has another route
    )


def _overload() -> Manifest:
    def at(share: float) -> list[Manifest]:
        return [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}]

    return {
        "refresh_interval": "1s",
        "resource_monitors": [
            _extension(
                "resource_monitors.global_downstream_max_connections",
                "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=CONNECTIONS,
            ),
            _extension(
                "resource_monitors.fixed_heap",
                "resource_monitors.fixed_heap.v3.FixedHeapConfig",
                max_heap_size_bytes=HEAP_BYTES,
            ),
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": at(0.85)},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": at(0.95)},
        ],
    }


# --- for the kubelet and for metrics ------------------------------------------------------------------------------


def _readiness(port: int) -> Manifest:
    """Ready: the picker serves, and so does `entry`, since Envoy begins to listen everywhere at once. Alive: Envoy is.

    Of what is the admin's, only the metrics are to be reached here.
    """
    routes: list[Manifest] = [
        {"match": {"path": ALIVE_PATH}, "direct_response": {"status": 200}},
        {"match": {"path": METRICS_PATH}, "route": {"cluster": _ADMIN}},
    ]
    health = _extension(
        "filters.http.health_check",
        "filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": READY_PATH}}],
        cluster_min_healthy_percentages={_PICKER: {"value": 100}},
    )
    return {
        "name": "ready",
        "address": _address("0.0.0.0", port),
        "ignore_global_conn_limit": True,
        "filter_chains": [
            _http(
                {
                    "stat_prefix": "ready",
                    "http_filters": [health, _router()],
                    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
                }
            )
        ],
    }


# --- where requests go --------------------------------------------------------------------------------------------


def _picker(at: Ports) -> Manifest:
    """Its health is asked for at its own port for that. A picker that hangs is found so, and then new requests are
    answered 503 at once; HTTP/2's own pings would not do, since gRPC in Go ends connections that ping often."""
    endpoint = {"address": _address(_LOOPBACK, at.picker), "health_check_config": {"port_value": at.health}}
    return {
        "name": _PICKER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _PICKER, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "typed_extension_protocol_options": _protocol(http2_protocol_options={}),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "circuit_breakers": _no_limits(),
        # else the only one there is would be asked even when it is down
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "grpc_health_check": {"service_name": "envoy.service.ext_proc.v3.ExternalProcessor"},
                "timeout": "2s",
                "interval": "2s",
                "no_traffic_interval": "2s",  # its own default is a minute
                "unhealthy_interval": "0.5s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
            }
        ],
    }


def _engines() -> Manifest:
    return {
        "name": _ENGINES,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": DESTINATION_HEADER},
        "connect_timeout": _seconds(CONNECT_SECONDS),
        "typed_extension_protocol_options": _protocol(
            common_http_protocol_options={"idle_timeout": _seconds(KEEP_SECONDS)}, http_protocol_options={}
        ),
        # a node that is gone says nothing, and neither does an engine that is at work
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}
        },
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "circuit_breakers": _no_limits(),
    }


def _admin(port: int) -> Manifest:
    endpoint = {"address": _address(_LOOPBACK, port)}
    return {
        "name": _ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _ADMIN, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


# --- Envoy's way of saying things ---------------------------------------------------------------------------------


def _seconds(number: int) -> str:
    return f"{number}s"


def _address(address: str, port: int) -> Manifest:
    return {"socket_address": {"address": address, "port_value": port}}


def _extension(name: str, kind: str, **fields: Any) -> Manifest:
    typed = {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}
    return {"name": f"envoy.{name}", "typed_config": typed}


def _http(manager: Manifest) -> Manifest:
    kind = "filters.network.http_connection_manager"
    return {"filters": [_extension(kind, f"{kind}.v3.HttpConnectionManager", **manager)]}


def _router() -> Manifest:
    return _extension("filters.http.router", "filters.http.router.v3.Router", suppress_envoy_headers=True)


def _protocol(*, common_http_protocol_options: Manifest | None = None, **explicit: Manifest) -> Manifest:
    kind = "upstreams.http.v3.HttpProtocolOptions"
    common = {"common_http_protocol_options": common_http_protocol_options} if common_http_protocol_options else {}
    options = {"@type": f"type.googleapis.com/envoy.extensions.{kind}", "explicit_http_config": explicit, **common}
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


def _no_limits() -> Manifest:
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _UNLIMITED)
    return {"thresholds": [limits]}


_ACCESS_LOG = _extension("access_loggers.stdout", "access_loggers.stream.v3.StdoutAccessLog")
