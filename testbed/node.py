"""The node: containerd, a real kubelet, kube-proxy and DNS, on the host."""

from __future__ import annotations

import json
import subprocess

from testbed import certificates, images, places, processes, programs
from testbed.control_plane import DNS, KUBELET, PROXY, kubectl

READY_SECONDS = 60
CNI = places.STATE / "cni"
KUBELET_ROOT = places.STATE / "kubelet"

# Each line that looks odd is needed where cgroups are v1 and oom scores may not be lowered (containers, CI machines).
CONTAINERD = f"""\
version = 2
root = "{places.STATE}/containerd"
state = "{places.RUN}/containerd"
[grpc]
  address = "{places.CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{places.STATE}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true
  disable_hugetlb_controller = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{images.PAUSE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{CNI}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{places.RUN}/runc"
"""

# Block YAML: a file that begins with a brace is read as JSON.
KUBELET_CONFIG = f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
oomScoreAdj: 0
failSwapOn: false
makeIPTablesUtilChains: false
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {certificates.certificate("ca")}}}}}
authorization: {{mode: Webhook}}
address: {places.NODE_IP}
healthzPort: 0
containerRuntimeEndpoint: "unix://{places.CONTAINERD_SOCKET}"
podLogsDir: {places.STATE}/pod-logs
volumePluginDir: {KUBELET_ROOT}/volume-plugins
clusterDNS: [{places.NODE_IP}]
clusterDomain: cluster.local
shutdownGracePeriod: 0s
# An image that is collected cannot be pulled again, and a full disk is the machine's own affair.
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi}}
"""  # noqa: E501 - one line of YAML

COREFILE = f"""\
.:53 {{
  bind {places.NODE_IP}
  errors
  kubernetes cluster.local {{
    kubeconfig {places.STATE}/{DNS}.kubeconfig
    pods insecure
    ttl 1
  }}
}}
"""


def start() -> None:
    """Start the node's programs; returns when the node is Ready."""
    _start_containerd()
    images.load(images.pause())
    _start_kubelet()
    _start_proxy()
    corefile = places.STATE / "Corefile"
    corefile.write_text(COREFILE)
    processes.start("coredns", [programs.path("coredns"), "-conf", corefile])
    processes.await_that("kubelet", "has no Ready node", _is_ready, READY_SECONDS)
    processes.await_that("kube-proxy", "has written no rules", _has_rules, READY_SECONDS)


def _start_containerd() -> None:
    CNI.mkdir(parents=True, exist_ok=True)
    network = {
        "cniVersion": "0.4.0",
        "name": places.NETWORK,
        "plugins": [
            {
                "type": "bridge", "bridge": places.BRIDGE, "isGateway": True, "hairpinMode": True,
                "ipam": {
                    "type": "host-local", "subnet": places.POD_NET, "rangeStart": places.FIRST_POD_IP,
                    "dataDir": str(places.STATE / "addresses"), "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }  # fmt: skip
    (CNI / "10-bridge.conflist").write_text(json.dumps(network))
    config = places.STATE / "containerd.toml"
    config.write_text(CONTAINERD)
    processes.start("containerd", ["containerd", "--config", config, "--log-level", "warn"])
    processes.await_that("containerd", "does not listen", places.CONTAINERD_SOCKET.exists, READY_SECONDS)


def _start_kubelet() -> None:
    config = places.STATE / "kubelet.yaml"
    config.write_text(KUBELET_CONFIG)
    processes.start(
        "kubelet",
        [
            programs.path("kubelet"), "--config", config, "--kubeconfig", places.STATE / f"{KUBELET}.kubeconfig",
            "--root-dir", KUBELET_ROOT, "--cert-dir", KUBELET_ROOT / "pki",
            "--hostname-override", places.NODE, "--node-ip", places.NODE_IP,
        ],
    )  # fmt: skip


def _start_proxy() -> None:
    # conntrack settings 0: the sysctls behind them cannot be set everywhere, and kube-proxy would end.
    processes.start(
        "kube-proxy",
        [
            programs.path("kube-proxy"), "--kubeconfig", places.STATE / f"{PROXY}.kubeconfig",
            "--hostname-override", places.NODE, "--proxy-mode", "iptables", "--cluster-cidr", places.POD_NET,
            "--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-established", "0",
            "--conntrack-tcp-timeout-close-wait", "0",
            "--healthz-bind-address", "127.0.0.1:10256", "--metrics-bind-address", "127.0.0.1:10249",
        ],
    )  # fmt: skip


def _is_ready() -> bool:
    ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    return kubectl("get", "node", places.NODE, "-o", ready, check=False).stdout == "True"


def _has_rules() -> bool:
    """Connections to the API server's Service are translated. Its /healthz says 200 before anything was written.

    A connection that is opened earlier goes nowhere, and stays so.
    """
    told = subprocess.run(["iptables", "-t", "nat", "-S", "KUBE-SERVICES"], check=False, capture_output=True, text=True)
    return f"{places.FIRST_SERVICE_IP}/32" in told.stdout
