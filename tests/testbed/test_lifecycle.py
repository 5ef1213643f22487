"""Up and down, whatever was killed between. Takes the cluster down: these tests run last."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import cluster, host, leftovers, places, processes
from testbed.parts import Wishes

pytestmark = pytest.mark.cluster_lifecycle

SETTINGS = ("net/ipv4/ip_forward", *host.CHANGED_BY_PROGRAMS)
FILES = (places.STATE, places.RUN, places.LOCK, Path("/var/log/containers"), leftovers.DEVICE_PLUGINS)
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
        "settings": [(Path("/proc/sys") / name).read_text() for name in SETTINGS],
        "shims": [str(pid) for pid in leftovers.our_shims()],
        "containers": [str(pid) for pid in leftovers.containerized()],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob("*/k8s.io")],
        "files": [str(p) for p in FILES if p.exists()],
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


def test_down_leaves_nothing_of_a_cluster_whose_containers_were_killed_too() -> None:
    cluster.down()
    before = host_state()
    with_a_running_pod()
    for shim in leftovers.our_shims():
        os.kill(shim, 9)
    kill_everything()

    cluster.down()

    assert host_state() == before


@pytest.fixture
def changed_setting() -> Iterator[Path]:
    """A setting of the host's own that the kubelet changes."""
    setting = Path("/proc/sys/net/ipv4/conf/all/route_localnet")
    before = setting.read_text()
    setting.write_text("0")
    yield setting
    cluster.down()
    setting.write_text(before)


def test_settings_that_the_programs_change_are_put_back(changed_setting: Path) -> None:
    cluster.down()
    changed_setting.write_text("0")
    up()
    subprocess.run(["timeout", "20", "sh", "-c", f"until grep -q 1 {changed_setting}; do sleep 0.1; done"], check=True)

    cluster.down()

    assert changed_setting.read_text() == "0\n"


@pytest.fixture
def rules_of_another() -> Iterator[str]:
    """A chain as another Kubernetes has it."""
    chain = "KUBE-ANOTHER"
    cluster.down()
    subprocess.run(["iptables", "-N", chain], check=True)
    yield chain
    subprocess.run(["iptables", "-X", chain])


def test_without_a_cluster_nothing_is_taken_from_another(rules_of_another: str) -> None:
    cluster.down()

    assert rules_of_another in subprocess.run(["iptables-save"], capture_output=True, text=True).stdout


def test_the_clusters_own_requests_are_nobodys_in_the_audit_log() -> None:
    with_a_running_pod()

    agents = [json.loads(line).get("userAgent", "") for line in places.AUDIT_LOG.read_text().splitlines()]
    assert any(agent.startswith("kubectl") for agent in agents)
    assert not [agent for agent in agents if agent.startswith(("kube-scheduler", "kube-controller-manager", "kubelet"))]


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


def test_services_answer_the_host_as_soon_as_it_is_up() -> None:
    up()

    connection = socket.create_connection((places.FIRST_SERVICE_IP, 443), timeout=5)

    with connection:
        assert connection.getpeername() == (places.FIRST_SERVICE_IP, 443)


def test_another_cluster_is_refused_and_left_alone() -> None:
    first = up()
    environment = {**os.environ, "FUSIONINFER_TESTBED_DIR": "/var/lib/fusioninfer-another"}

    for command in ("up", "down"):
        done = subprocess.run(
            [sys.executable, "-m", "testbed", command], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 2
        assert f"another cluster is up, with its state in {places.STATE}" in done.stderr

    assert cluster.status().processes == first.processes


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
