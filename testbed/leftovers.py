"""Takes away everything that a cluster leaves on the host, whether it was ended, crashed, or killed piece by piece.

Nothing here asks a part of the cluster to help: all of them may be dead. What is ours is known by our own folders,
socket, bridge and network; a process by its recorded id, or by our socket in its command line.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from testbed import host, places, processes
from testbed.refusal import Refusal

# First what would start again what ends next; then containers; then what they need to end.
CONTROLLERS = ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "kwok")
_OURS_IN_IPTABLES = re.compile(rf"KUBE-|{places.BRIDGE}")
SHIM_SOCKETS = Path("/run/containerd/s")
"""Where containerd's shims listen, whatever the configuration says (containerd 1.6, runtime/v2/shim)."""
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
"""Where a kubelet listens whatever its root is (DevicePluginPath of k8s.io/kubelet/pkg/apis/deviceplugin)."""


def remove() -> None:
    """The host as it was before. If nothing of ours is there, nothing is touched: rules may be another Kubernetes'."""
    if not are_there():
        return
    processes.end(CONTROLLERS)
    _end_containers()
    processes.end(first=signal.SIGKILL)  # etcd's data goes too: nobody needs to say good-bye
    _unmount()
    host.remove_network()
    _remove_rules()
    _remove_files()


def are_there() -> bool:
    """A cluster was here: something of it may be left."""
    return places.STATE.exists() or places.RUN.exists() or Path(f"/sys/class/net/{places.BRIDGE}").exists()


def check_folder() -> None:
    """Raise Refusal if the state folder holds anything but a cluster's state: it is deleted with the cluster."""
    if places.STATE.exists() and not places.SETTINGS_BEFORE.exists() and any(places.STATE.iterdir()):
        raise Refusal(
            f"{places.STATE} holds files that are no cluster's, and `down` would delete them: "
            "name a new or empty folder in FUSIONINFER_TESTBED_DIR"
        )


def _end_containers() -> None:
    shims = our_shims()
    tree = processes.children()
    inside = {*containerized(), *(pid for shim in shims for pid in _descendants(shim, tree))}
    for pid in (*inside, *shims):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    give_up = time.monotonic() + processes.GRACE_SECONDS
    while any(processes.began(pid) is not None for pid in (*inside, *shims)) and time.monotonic() < give_up:
        time.sleep(0.02)


def our_shims() -> list[int]:
    """The containerd shims that serve our containerd."""
    found = []
    for pid in processes.everyone():
        words = processes.command_line(pid)
        if words and "containerd-shim" in words[0] and str(places.CONTAINERD_SOCKET) in words:
            found.append(pid)
    return found


def containerized() -> list[int]:
    """The processes in our containers, also those whose shim is dead: their root was mounted from our folder."""
    found = []
    for pid in processes.everyone():
        try:
            mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:
            continue
        if any(line.split()[4] == "/" and f"={places.STATE}/containerd/" in line for line in mounts):
            found.append(pid)
    return found


def _descendants(pid: int, tree: dict[int, list[int]]) -> list[int]:
    return [below for child in tree.get(pid, []) for below in (child, *_descendants(child, tree))]


def _unmount() -> None:
    roots = (f"{places.STATE}/", f"{places.RUN}/")
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((m for m in mounted if m.startswith(roots)), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


def _remove_rules() -> None:
    """Every iptables rule and chain of kube-proxy's."""
    for family in ("iptables", "ip6tables"):
        saved = subprocess.run([f"{family}-save"], check=False, capture_output=True, text=True).stdout
        kept = [line for line in saved.splitlines() if not _OURS_IN_IPTABLES.search(line)]
        if len(kept) != len(saved.splitlines()):
            subprocess.run(
                [f"{family}-restore"], check=False, input="\n".join(kept) + "\n", text=True, capture_output=True
            )


def _remove_files() -> None:
    _remove_dead_sockets()
    _remove_links(Path("/var/log/containers"))
    for result in addresses():
        result.unlink(missing_ok=True)
    _remove_cgroups()
    shutil.rmtree(places.RUN, ignore_errors=True)
    _remove_state()
    for parent in (
        DEVICE_PLUGINS,
        DEVICE_PLUGINS.parent,
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/var/log/containers",
        "/run/containerd/s",
        "/run/containerd",
    ):
        _remove_if_empty(Path(parent))


def _remove_state() -> None:
    """What the folder is known by goes last, so that a `down` that was killed can be run again."""
    for path in places.STATE.glob("*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path != places.SETTINGS_BEFORE:
            path.unlink(missing_ok=True)
    shutil.rmtree(places.STATE, ignore_errors=True)


def addresses() -> list[Path]:
    """What CNI plug-ins remember of our pods: the files that name a network namespace of ours."""
    return [path for path in Path("/var/lib/cni/results").glob("*") if str(places.RUN) in path.read_text()]


def _remove_dead_sockets() -> None:
    """The sockets of shims and kubelets that are no more: nobody listens on them."""
    for path in (*SHIM_SOCKETS.glob("*"), *DEVICE_PLUGINS.glob("*.sock")):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                continue


def _remove_links(folder: Path) -> None:
    """The kubelet's links to logs that were ours."""
    for link in folder.glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(str(places.STATE)):
            link.unlink()


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _remove_cgroups() -> None:
    """The containers' cgroups: containerd puts them below k8s.io; a kernel removes none that is in use."""
    for root in _cgroup_roots():
        for folder, _, _ in os.walk(root / "k8s.io", topdown=False):
            _remove_if_empty(Path(folder))


def _cgroup_roots() -> Iterable[Path]:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]
