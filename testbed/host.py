"""What the host needs and what of it is changed: said first, refused if it cannot be, put back in the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

from testbed import places
from testbed.refusal import Refusal

PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "iproute2", "iptables", "conntrack", "socat",
    "busybox-static", "openssl", "kmod",
)  # fmt: skip

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Without it the answer of a Service's pod on the same bridge goes past the address translation, and is lost.
    "net/bridge/bridge-nf-call-iptables": "1",
}
CHANGED_BY_PROGRAMS = (
    # kubelet: setupKernelTunables in k8s.io/kubernetes/pkg/kubelet/cm/container_manager_linux.go
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
    # kube-proxy: sysctlRouteLocalnet in k8s.io/kubernetes/pkg/proxy/iptables/proxier.go
    "net/ipv4/conf/all/route_localnet",
)  # fmt: skip
"""Settings that the cluster's programs change on their own: put back with ours."""


def check() -> None:
    """Raise Refusal if this is no machine for it."""
    if platform.system() != "Linux":
        raise Refusal("the local cluster needs Linux: it runs a kubelet and containers on this machine itself")
    if os.geteuid() != 0:
        raise Refusal("the local cluster needs root: it makes a bridge, mounts and containers; run it with sudo")
    if shutil.which("apt-get") is None and missing_packages():
        raise Refusal(f"install {', '.join(missing_packages())} first: only Debian's packages are installed from here")


def announce(building: list[str]) -> None:
    """Say what will be done to the host."""
    missing = missing_packages()
    install = f"{', '.join(missing)} (apt)" if missing else "nothing: all packages are there"
    turned_on = ", ".join(SYSCTLS)
    build = f"{', '.join(building)} into {places.cache_folder()}" if building else "nothing: all programs are cached"
    print(
        f"""\
This will, on this machine:
  install    {install}
  build      {build}
  network    bridge {places.BRIDGE} with {places.NODE_IP}/16, a route to {places.SERVICE_NET}, iptables rules
  settings   turned on: {turned_on}
             changed by kubelet and kube-proxy: {", ".join(CHANGED_BY_PROGRAMS)}
  files      {places.STATE}, {places.RUN}
`python -m testbed down` takes all but packages and cache away again.""",
        flush=True,
    )


def missing_packages() -> list[str]:
    """Debian packages that are not installed."""
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        check=False,
        capture_output=True,
        text=True,
    )
    there = {line.split()[0] for line in told.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in PACKAGES if name not in there]


def install() -> None:
    """Install the missing packages; raises Refusal with apt's words if that fails."""
    missing = missing_packages()
    if not missing:
        return
    print(f"installing {', '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", *command], check=False, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise Refusal(f"apt-get {command[0]} failed: {done.stderr.strip()[-500:]}")


def make_network() -> None:
    """The bridge, before any pod, so that the API server and DNS can listen on its address."""
    subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)  # built into some kernels
    settings = (*SYSCTLS, *CHANGED_BY_PROGRAMS)
    before = {name: _sysctl(name).read_text().strip() for name in settings if _sysctl(name).exists()}
    places.SETTINGS_BEFORE.write_text(json.dumps(before))
    run("ip", "link", "add", places.BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{places.NODE_IP}/16", "dev", places.BRIDGE)
    run("ip", "link", "set", places.BRIDGE, "up")
    # Else the host reaches Services only where it has a default route, and what no rule matches leaves by that.
    run("ip", "route", "add", places.SERVICE_NET, "dev", places.BRIDGE)
    for name, value in SYSCTLS.items():
        if before.get(name) != value:
            _sysctl(name).write_text(value)


def remove_network() -> None:
    """The bridge gone, and the settings as they were before."""
    subprocess.run(["ip", "link", "del", places.BRIDGE], check=False, capture_output=True)
    if places.SETTINGS_BEFORE.exists():
        for name, value in json.loads(places.SETTINGS_BEFORE.read_text() or "{}").items():
            if _sysctl(name).exists() and _sysctl(name).read_text().strip() != value:
                _sysctl(name).write_text(value)


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def check_ports() -> None:
    """Raise Refusal if somebody else listens where we must; the bridge is up."""
    for address, port, program in places.PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise Refusal(
                    f"port {port} of {address} is taken ({error.strerror}), and {program} needs it: "
                    f"end what listens there (ss -ltnp 'sport = :{port}'), another Kubernetes perhaps"
                ) from error


def run(*command: str | Path) -> str:
    """What `command` prints; raises Refusal with its complaint."""
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refusal(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
