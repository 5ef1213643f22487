"""Up and down, whatever was killed between. Takes the cluster down: these tests run last."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import cluster, leftovers, places, processes
from testbed.parts import Wishes

pytestmark = pytest.mark.cluster_lifecycle

POD = ["run", "sleeper", "--image=fusioninfer.local/pause:1", "--restart=Never"]


@pytest.fixture(autouse=True)
def down_afterwards() -> Iterator[None]:
    """Whatever happens, nothing stays."""
    yield
    cluster.down()


def host_state() -> dict[str, list[str]]:
    """All of the host that a cluster touches."""
    tables = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout.splitlines()
    return {
        "links": sorted(os.listdir("/sys/class/net")),
        "namespaces": subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.splitlines(),
        "rules": [line for line in tables if line.startswith("-A")],
        "mounts": [m for m in _mounts() if m.startswith(("/var/lib/fusioninfer", "/run/fusioninfer"))],
        "settings": [(Path("/proc/sys") / name).read_text() for name in ("net/ipv4/ip_forward",)],
        "shims": [str(pid) for pid in leftovers.our_shims()],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob("*/k8s.io")],
        "files": [str(p) for p in (places.STATE, places.RUN, Path("/var/log/containers")) if p.exists()],
        "addresses": [str(path) for path in Path("/var/lib/cni/results").glob("*")],
    }


def _mounts() -> list[str]:
    return [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]


def with_a_running_pod() -> None:
    up()
    kubectl(*POD)
    kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")


def up() -> cluster.Status:
    return cluster.up([], Wishes(gpu_nodes=0, gpus_per_node=0))


def kubectl(*words: str) -> str:
    status = cluster.status()
    command = [status.kubectl, "--kubeconfig", status.kubeconfig, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_everything() -> None:
    for process in processes.recorded():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, 9)


def test_down_leaves_nothing() -> None:
    cluster.down()
    before = host_state()
    with_a_running_pod()
    assert host_state() != before

    cluster.down()

    assert host_state() == before
    assert cluster.status().state == "down"


def test_down_leaves_nothing_of_a_cluster_that_was_killed() -> None:
    cluster.down()
    before = host_state()
    with_a_running_pod()
    kill_everything()

    cluster.down()

    assert host_state() == before


def test_up_makes_a_new_cluster_of_one_that_was_killed() -> None:
    with_a_running_pod()
    kill_everything()
    assert cluster.status().state == "broken"

    assert up().state == "up"

    assert "sleeper" not in kubectl("get", "pods")
    kubectl(*POD)
    kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")


def test_up_twice_keeps_what_runs() -> None:
    first = up()

    assert up().processes == first.processes


def test_names_addresses_logs_and_exec_work() -> None:
    with_a_running_pod()
    kubectl("exec", "sleeper", "--", "/bin/busybox", "true")
    kubectl("logs", "sleeper")
    found = kubectl("exec", "sleeper", "--", "/bin/busybox", "nslookup", "kubernetes.default.svc.cluster.local")

    assert places.FIRST_SERVICE_IP in found


def test_one_at_a_time() -> None:
    program = (
        "import fcntl, sys; from testbed import cluster\nwith cluster._alone(): print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = subprocess.run([sys.executable, "-m", "testbed", "down"], capture_output=True, text=True)
        assert done.returncode == 2
        assert "another `testbed up` or `down` is at work" in done.stderr
    finally:
        holder.communicate()
