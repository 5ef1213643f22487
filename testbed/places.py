"""Where everything of the cluster is: addresses, ports, folders. All of it is ours alone and goes with `down`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE = Path(os.environ.get("FUSIONINFER_TESTBED_DIR") or "/var/lib/fusioninfer-testbed").resolve()
RUN = Path("/run/fusioninfer-testbed")
"""Sockets and containerd's state; short, since a socket's path has at most 107 characters."""
CONTAINERD_SOCKET = RUN / "containerd.sock"
SETTINGS_BEFORE = STATE / "sysctls-before.json"
"""The first file in the state folder and the last to go: by it a folder is known to be a cluster's."""
LOGS = STATE / "log"
PKI = STATE / "pki"
AUDIT_LOG = STATE / "audit.log"
KUBECONFIG = STATE / "admin.kubeconfig"
LOCK = Path("/run/fusioninfer-testbed.lock")

BRIDGE = "fi-br0"
NETWORK = "fusioninfer-testbed"
NODE = "local"

# 198.18.0.0/15 is set aside for benchmarks (RFC 2544) and meets no real network.
NODE_IP = "198.18.0.1"
POD_NET = "198.18.0.0/16"
FIRST_POD_IP = "198.18.1.1"
FAKE_POD_NET = "198.18.128.0/17"
SERVICE_NET = "198.19.0.0/16"
FIRST_SERVICE_IP = "198.19.0.1"

SERVER = f"https://{NODE_IP}:6443"

PORTS = (
    ("127.0.0.1", 2379, "etcd"),
    ("127.0.0.1", 2380, "etcd"),
    (NODE_IP, 6443, "kube-apiserver"),
    ("127.0.0.1", 10257, "kube-controller-manager"),
    ("127.0.0.1", 10259, "kube-scheduler"),
    (NODE_IP, 10250, "kubelet"),
    ("127.0.0.1", 10256, "kube-proxy"),
    ("127.0.0.1", 10249, "kube-proxy"),
    (NODE_IP, 53, "coredns"),
    ("127.0.0.1", 18080, "vc-scheduler"),
    ("127.0.0.1", 11251, "vc-scheduler"),
    ("127.0.0.1", 18081, "vc-controller-manager"),
    ("127.0.0.1", 11252, "vc-controller-manager"),
)
"""What the programs listen on."""


def cache_folder() -> Path:
    """Where what takes long to make is kept between clusters."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fusioninfer"


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, which takes its place when the block is done: what is in place is whole.

    Of two that make it at once, one is first. Where the block fails, nothing is left.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
