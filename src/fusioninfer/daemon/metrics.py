"""What Prometheus is told. Labels take few values by construction: none holds a name, a namespace or a message.

What happens is counted as it happens; what is so is a `State`, taken at the scrape.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fusioninfer.kube.requests import Request

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""
READY_STATES = ("True", "False", "Unknown", "Unreported")
"""What the Ready condition of a service says; Unreported: there is none yet."""


@dataclass(frozen=True, slots=True)
class CacheState:
    """One cache: how many objects it holds, and how often since the start it listed them and watched anew."""

    objects: int
    relists: int
    reconnects: int


@dataclass(frozen=True, slots=True)
class State:
    """What is so at the moment of a scrape."""

    queue_depth: int = 0
    queue_oldest_seconds: float = 0.0
    working: int = 0
    leading: bool = False
    lease_transitions: int = 0
    caches: Mapping[str, CacheState] = field(default_factory=dict)
    """By kind."""
    services: Mapping[str, int] = field(default_factory=dict)
    """How many there are by what Ready says of them: one of `READY_STATES`."""
    not_ready_longest_seconds: float = 0.0
    """How long the one has been not Ready that has been so for the longest time; 0 if all are."""


class Metrics:
    """Counts what happens, in a registry of its own; threads may share it."""

    def __init__(self) -> None:
        # A second series beside every one of ours, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call] # typed in none of its releases
        self._registry = CollectorRegistry()
        self._reconciles = Counter(
            "fusioninfer_reconciles",
            "Turns of services, by what came of them: done, or the kind of error.",
            ["outcome"],
            registry=self._registry,
        )
        self._reconcile_seconds = Histogram(
            "fusioninfer_reconcile_seconds", "How long a turn took.", buckets=BUCKETS, registry=self._registry
        )
        self._requests = Counter(
            "fusioninfer_api_requests",
            "Requests to the API server, by status code; code 0: no answer.",
            ["verb", "resource", "code"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "fusioninfer_api_request_seconds",
            "How long the API server took to answer.",
            ["verb"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    def reconciled(self, seconds: float, error: Exception | None) -> None:
        """Count one turn of a service."""
        self._reconciles.labels("done" if error is None else type(error).__name__).inc()
        self._reconcile_seconds.observe(seconds)

    def answered(self, request: Request, code: int, seconds: float) -> None:
        """Count one request to the API server; `code` is 0 if there was no answer."""
        verb = verb_of(request)
        self._requests.labels(verb, resource_of(request.path), str(code)).inc()
        if verb != "watch":  # which is answered at once, and then goes on for minutes
            self._request_seconds.labels(verb).observe(seconds)

    def text(self, state: State) -> bytes:
        """What happened and what is so, in Prometheus' text format."""
        present = CollectorRegistry()
        present.register(_Present(state))
        return generate_latest(self._registry) + generate_latest(present)


def verb_of(request: Request) -> str:
    """What a request does, in RBAC's words."""
    if request.method == "POST":
        return "create"
    if request.method != "GET":
        return request.method.lower()
    if "watch" in request.query:
        return "watch"
    return "list" if "limit" in request.query else "get"


def resource_of(path: str) -> str:
    """Which resource a request's path is about, in RBAC's words: `statefulsets`, `inferenceservices/status`."""
    match path.removeprefix("/").split("/"):
        case ["api", _, *rest] | ["apis", _, _, *rest] if rest:
            if rest[0] == "namespaces" and len(rest) > 2:
                rest = rest[2:]
            return "/".join(rest[:1] + rest[2:3])
    return "other"


class _Condition(msgspec.Struct):
    type: str
    status: str
    lastTransitionTime: datetime | None = None  # noqa: N815 - the wire's name


class _Status(msgspec.Struct):
    conditions: tuple[_Condition, ...] = ()


def by_ready(statuses: Iterable[bytes | msgspec.Raw]) -> dict[str, int]:
    """How many of the services with these `statuses` (JSON) are Ready, are not, and so on, by `READY_STATES`."""
    found = Tally(_ready_state(status) for status in statuses)
    return {state: found[state] for state in READY_STATES}


def not_ready_longest_seconds(statuses: Iterable[bytes | msgspec.Raw], now: datetime) -> float:
    """How long, of the services with these `statuses` (JSON), the first to cease being Ready has been so; else 0."""
    ready = (_ready(status) for status in statuses)
    since = [each.lastTransitionTime for each in ready if each and each.status != "True" and each.lastTransitionTime]
    return max(0.0, (now - min(since)).total_seconds()) if since else 0.0


def _ready_state(status: bytes | msgspec.Raw) -> str:
    ready = _ready(status)
    if ready is None:
        return "Unreported"
    return ready.status if ready.status in READY_STATES else "Unknown"


def _ready(status: bytes | msgspec.Raw) -> _Condition | None:
    try:
        conditions = _STATUS.decode(status).conditions
    except msgspec.ValidationError:  # null: never written
        return None
    return next((condition for condition in conditions if condition.type == "Ready"), None)


_STATUS = msgspec.json.Decoder(_Status)


class _Present(Collector):
    """A state as metrics."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("queue_depth", "Services that are due and wait for a worker.", state.queue_depth)
        yield _gauge("queue_oldest_seconds", "How long the first of them has been waiting.", state.queue_oldest_seconds)
        yield _gauge("working", "Services that are being worked on.", state.working)
        yield _gauge("leader", "1 while this process may write.", state.leading)
        yield _counter(
            "leader_transitions", "Changes of the leader, as the Lease counts them.", state.lease_transitions
        )
        yield from _of_caches(state.caches)
        yield _labelled(
            GaugeMetricFamily("fusioninfer_services", "Services by their Ready condition.", labels=["ready"]),
            state.services,
        )
        yield _gauge(
            "not_ready_longest_seconds",
            "How long the service has been not Ready that has been so for the longest time; 0 if all are Ready.",
            state.not_ready_longest_seconds,
        )


def _of_caches(caches: Mapping[str, CacheState]) -> Iterator[Metric]:
    yield _labelled(
        GaugeMetricFamily("fusioninfer_cache_objects", "Objects that are held, by kind.", labels=["kind"]),
        {kind: cache.objects for kind, cache in caches.items()},
    )
    yield _labelled(
        CounterMetricFamily("fusioninfer_cache_relists", "Lists from the start, by kind.", labels=["kind"]),
        {kind: cache.relists for kind, cache in caches.items()},
    )
    yield _labelled(
        CounterMetricFamily("fusioninfer_cache_reconnects", "Watches after the first one, by kind.", labels=["kind"]),
        {kind: cache.reconnects for kind, cache in caches.items()},
    )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fusioninfer_{name}", meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"fusioninfer_{name}", meaning, value=value)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, int]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family
