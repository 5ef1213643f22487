"""`make bench`: every figure beside its goal, from one run on the local cluster."""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import cli, minimal, router, takeover
from bench.figures import Figure
from bench.processes import Usage, usage_of
from fusioninfer.kube.connection import from_kubeconfig
from testbed import cluster
from tests.cluster.harness import KWOK, AuditLog, Manifest, Namespace, a_service, is_read, is_write, nothing_runs
from tools import operator_process
from tools.operator_process import Kubectl

OPERATOR = f"system:serviceaccount:{operator_process.NAMESPACE}:{operator_process.ACCOUNT}"
AT_REST = 200
BURST = 300
SAMPLES = 100
WHOLE = 100
REST_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Bench:
    """What every scenario works with."""

    kubectl: Kubectl
    audit: AuditLog
    operator_kubeconfig: Path
    log: Path

    @contextmanager
    def namespace(self, name: str) -> Iterator[Namespace]:
        """A namespace for the time of a scenario; gone, with all that was in it, afterwards."""
        self.kubectl("create", "namespace", name)
        yield Namespace(self.kubectl, name)
        self.kubectl("delete", "namespace", name, "--timeout=300s")

    @contextmanager
    def operator(self) -> Iterator[int]:
        """A running operator; its process id."""
        process = operator_process.start(self.operator_kubeconfig, self.log, "--port", "18081")
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    """Run all scenarios; print the table."""
    status = _cluster()
    kubectl = Kubectl(Path(status.kubectl), Path(status.kubeconfig))
    operator_process.install(kubectl)
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        operator_process.write_kubeconfig(kubectl, kubeconfig)
        bench = Bench(kubectl, AuditLog(Path(status.audit_log)), kubeconfig, Path(folder) / "operator.log")
        print(f"{platform.machine()}, {os.cpu_count()} cores, {time.ctime()}\n")
        print("| what | measured | goal | |\n| --- | --- | --- | --- |", flush=True)
        for scenario in (takeovers, latency, at_rest, burst, whole, routing):
            for figure in scenario(bench):
                print(figure, flush=True)
        for figure in cli.figures():
            print(figure, flush=True)


def _cluster() -> cluster.Status:
    parts = ("kwok", "sim", "volcano", "router", "inference-crds", "--gpu-nodes", "4")
    subprocess.run([sys.executable, "-m", "testbed", "up", *parts], check=True, stdout=sys.stderr)
    return cluster.status()


def named(number: int) -> str:
    return f"svc-{number:03d}"


def latency(bench: Bench) -> Iterator[Figure]:
    """From the answer to the user's apply to the commit of the first child, on an idle cluster."""
    with bench.namespace("bench-latency") as namespace, bench.operator():
        namespace.apply(a_service("warm", template=nothing_runs(), replicas=1))
        namespace.wait_ready("warm")
        seconds = asyncio.run(
            minimal.first_child_latencies(from_kubeconfig(bench.kubectl.kubeconfig), namespace.name, SAMPLES)
        )
    milliseconds = sorted(1000 * value for value in seconds)
    p50, p99 = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=100)[98]
    yield Figure(f"apply → first child, p50 of {SAMPLES}", f"{p50:.1f} ms", "≤ 8 ms", p50 <= 8)
    yield Figure(f"apply → first child, p99 of {SAMPLES}", f"{p99:.1f} ms", "≤ 20 ms", p99 <= 20)


def at_rest(bench: Bench) -> Iterator[Figure]:
    """Silence with many services; then every one of them is touched; then the operator starts anew."""
    with bench.namespace("bench-rest") as namespace:
        with bench.operator():
            namespace.apply(*(a_service(named(n), template=nothing_runs(), replicas=1) for n in range(AT_REST)))
            _wait_all_ready(namespace, AT_REST)
            time.sleep(15)
            with bench.audit.requests_of(OPERATOR) as resting:
                time.sleep(REST_SECONDS)
            yield _silence(f"writes at rest, {AT_REST} services, {REST_SECONDS} s", resting, is_write)
            yield _silence(f"reads at rest, {AT_REST} services, {REST_SECONDS} s", resting, is_read)
            with bench.audit.requests_of(OPERATOR) as touched:
                namespace("annotate", "inferenceservices", "--all", "touched=yes")
                time.sleep(12)
            yield _silence(f"writes after touching {AT_REST} services", touched, is_write)
        with bench.audit.requests_of(OPERATOR) as restarted, bench.operator():
            time.sleep(15)
        yield _silence(f"writes of a restart with {AT_REST} services", restarted, is_write)


def _silence(what: str, requests: list[Manifest], counts: Callable[[Manifest], bool]) -> Figure:
    number = sum(1 for entry in requests if counts(entry))
    return Figure(what, str(number), "0", number == 0)


def _wait_all_ready(namespace: Namespace, number: int) -> None:
    def ready() -> int:
        told = namespace(
            "get",
            "inferenceservices",
            "-o",
            'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}',
        )
        return told.split().count("True")

    namespace.wait(ready, lambda found: found == number, f"{number} services to be Ready", 300)


def burst(bench: Bench) -> Iterator[Figure]:
    """Many services at once, beside a client that knows beforehand what to write."""
    connection = from_kubeconfig(bench.kubectl.kubeconfig)
    with bench.namespace("bench-minimal") as namespace:
        least = asyncio.run(minimal.services_and_children(connection, namespace.name, BURST))
    with bench.namespace("bench-burst") as namespace, bench.operator() as pid:
        time.sleep(5)
        idle = usage_of(pid)
        with bench.audit.requests_of(OPERATOR) as requests:
            wall = asyncio.run(minimal.services_until_children(connection, namespace.name, BURST))
            _wait_all_ready(namespace, BURST)
            time.sleep(3)
        used = usage_of(pid)
    yield from _burst_figures(wall, least, idle, used, sum(1 for entry in requests if is_write(entry)))


def _burst_figures(wall: float, least: float, idle: Usage, used: Usage, writes: int) -> Iterator[Figure]:
    ratio = wall / least
    walls = f"{wall:.2f} s / {least:.2f} s = {ratio:.2f}×"
    yield Figure(f"burst of {BURST}, all children, beside a minimal client", walls, "≤ 1.25×", ratio <= 1.25)
    yield Figure(f"CPU of the burst until {BURST} are Ready", f"{used.cpu_seconds - idle.cpu_seconds:.2f} s")
    yield Figure("writes per service, create → Ready", f"{writes / BURST:.2f}", "≤ 4", writes <= 4 * BURST)
    yield Figure("memory without services", f"{idle.rss_mebibytes:.0f} MiB", "≤ 90 MiB", idle.rss_mebibytes <= 90)
    yield Figure(
        f"memory with {BURST} services", f"{used.rss_mebibytes:.0f} MiB", "≤ 120 MiB", used.rss_mebibytes <= 120
    )


def whole(bench: Bench) -> Iterator[Figure]:
    """Prefill and decode apart, a router, a gang: the first of many such services, and the last."""
    with bench.namespace("bench-whole") as namespace, bench.operator():
        first = _writes_of(bench, namespace, named(0))
        namespace.apply(*(_whole_service(named(n)) for n in range(1, WHOLE - 1)))
        _wait_all_ready(namespace, WHOLE - 1)
        last = _writes_of(bench, namespace, named(WHOLE - 1))
    children = sum(1 for entry in first if entry["objectRef"]["resource"] != "inferenceservices")
    yield Figure("child objects of prefill, decode, router and gang", str(children))
    for which, writes in (("1st", first), (f"{WHOLE}th", last)):
        number = len(writes)
        yield Figure(f"their writes until Ready, {which} of {WHOLE} services", str(number), "≤ 13", number <= 13)


def _writes_of(bench: Bench, namespace: Namespace, name: str) -> list[Manifest]:
    """What is written until the service `name` is Ready."""
    with bench.audit.requests_of(OPERATOR) as requests:
        namespace.apply(_whole_service(name))
        namespace.wait_ready(name, 60)
    mine = (entry for entry in requests if entry["objectRef"].get("name", "").split(".")[0].startswith(name))
    return [entry for entry in mine if is_write(entry) and entry["objectRef"]["resource"] != "events"]


def _whole_service(name: str) -> Manifest:
    entry = {"name": "entry", "componentType": "router", "template": {"spec": KWOK}}
    sides = [
        {"name": name, "componentType": kind, "replicas": 1, "template": nothing_runs(args=["--model", "qwen"])}
        for name, kind in (("prefill", "prefiller"), ("decode", "decoder"))
    ]
    service = a_service(name, template=nothing_runs(), replicas=1)
    return {**service, "spec": {"schedulingStrategy": {"schedulerName": "volcano"}, "roles": [entry, *sides]}}


def takeovers(bench: Bench) -> Iterator[Figure]:
    """Two operators of the chart, of which one ends."""
    with bench.namespace("bench-takeover") as namespace:
        seen = takeover.measured(bench.kubectl, bench.audit, namespace)
    operator_process.install(bench.kubectl)  # for the other scenarios, whose operator is a process
    for what, seconds, goal in (
        ("SIGTERM to the leader → the other leads", seen.told, 0.5),
        ("SIGKILL to the leader → the other leads", seen.killed, 17.0),
        ("start of a lone operator → first write", seen.starts, 2.0),
    ):
        measured = f"{max(seconds):.2f} s (median {statistics.median(seconds):.2f} s)"
        yield Figure(f"{what}, worst of {takeover.TIMES}", measured, f"≤ {goal} s", max(seconds) <= goal)


def routing(bench: Bench) -> Iterator[Figure]:
    """What a router adds to a short request, beside the usual shape of such an Envoy."""
    with bench.namespace("bench-router") as namespace, bench.operator():
        ours, theirs = router.added(namespace)
    for which, mine, other in [("p50", ours.p50, theirs.p50), ("p99", ours.p99, theirs.p99)]:
        what = f"a router adds to a request, {which} of {router.ROUNDS}, beside the usual Envoy"
        yield Figure(what, f"{mine:.2f} ms / {other:.2f} ms = {mine / other:.2f}×", "≤ 1.0×", mine / other <= 1)


if __name__ == "__main__":
    main()
