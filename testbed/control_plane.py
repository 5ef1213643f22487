"""etcd, API server, controller manager, scheduler: the real ones, on the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed import certificates, places, processes, programs
from testbed.refusal import Refusal

READY_SECONDS = 60
ADMIN, KUBELET, PROXY, DNS, KWOK = "admin", "kubelet", "kube-proxy", "coredns", "kwok"
CONTROLLER_MANAGER, SCHEDULER = "kube-controller-manager", "kube-scheduler"

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
# The cluster's own noise; everyone else's requests are counted.
- level: None
  userGroups: [system:nodes, system:serviceaccounts:kube-system]
- level: None
  users: [system:apiserver, system:kube-scheduler, system:kube-controller-manager, kube-proxy, coredns, kwok]
- level: Metadata
"""

ADMISSION = "NodeRestriction,OwnerReferencesPermissionEnforcement"


def write_identities() -> None:
    """Certificates and kubeconfigs of everyone."""
    certificates.authority()
    local = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
    addresses = f"IP:{places.NODE_IP},IP:127.0.0.1,IP:{places.FIRST_SERVICE_IP}"
    certificates.issue("apiserver", "/CN=kube-apiserver", names=f"{addresses},{local}")
    certificates.issue(KUBELET, f"/O=system:nodes/CN=system:node:{places.NODE}")
    for name in (CONTROLLER_MANAGER, SCHEDULER):  # their rights come with the API server (bootstrap roles)
        certificates.issue(name, f"/CN=system:{name}")
    for name in (ADMIN, PROXY, DNS, KWOK):
        certificates.issue(name, f"/O=system:masters/CN={name}")
    for name in (ADMIN, KUBELET, CONTROLLER_MANAGER, SCHEDULER, PROXY, DNS, KWOK):
        certificates.kubeconfig(name)


def start() -> None:
    """Start all four; returns when the API server is ready."""
    _start_etcd()
    _start_api_server()
    processes.await_that("kube-apiserver", "is not ready", is_ready, READY_SECONDS)
    processes.start(
        CONTROLLER_MANAGER,
        [
            programs.path(CONTROLLER_MANAGER), *_common_flags(CONTROLLER_MANAGER), "--use-service-account-credentials",
            "--service-account-private-key-file", certificates.key("sa"),
            "--root-ca-file", certificates.certificate("ca"),
            "--cluster-signing-cert-file", certificates.certificate("ca"),
            "--cluster-signing-key-file", certificates.key("ca"),
            # Else it waits until its cache has what it wrote, with a back-off that grows each time it looks too early:
            # 50 pods deleted and made anew took it more than two minutes here (1.36.3).
            "--feature-gates", "StaleControllerConsistencyStatefulSet=false",
        ],
    )  # fmt: skip
    processes.start(SCHEDULER, [programs.path(SCHEDULER), *_common_flags(SCHEDULER)])


def _common_flags(name: str) -> tuple[str | Path, ...]:
    """Each as itself, not as admin: the audit log counts requests by user."""
    kubeconfig = places.STATE / f"{name}.kubeconfig"
    return (
        "--kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
        "--leader-elect=false", "--bind-address", "127.0.0.1", "--kube-api-qps", "500", "--kube-api-burst", "1000",
    )  # fmt: skip


def _start_etcd() -> None:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    processes.start(
        "etcd",
        [
            programs.path("etcd"), "--data-dir", places.STATE / "etcd", "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ],
    )  # fmt: skip


def _start_api_server() -> None:
    policy = places.STATE / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    processes.start(
        "kube-apiserver",
        [
            programs.path("kube-apiserver"),
            "--etcd-servers", "http://127.0.0.1:2379", "--secure-port", "6443",
            "--bind-address", places.NODE_IP, "--advertise-address", places.NODE_IP,
            "--tls-cert-file", certificates.certificate("apiserver"),
            "--tls-private-key-file", certificates.key("apiserver"),
            "--client-ca-file", certificates.certificate("ca"), "--cert-dir", places.STATE / "apiserver",
            "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", ADMISSION,
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", certificates.key("sa"),
            "--service-account-signing-key-file", certificates.key("sa"),
            "--service-cluster-ip-range", places.SERVICE_NET, "--allow-privileged",
            "--kubelet-client-certificate", certificates.certificate(ADMIN),
            "--kubelet-client-key", certificates.key(ADMIN),
            # The node's name is in no DNS: without this, logs and exec fail.
            "--kubelet-preferred-address-types", "InternalIP",
            "--audit-policy-file", policy, "--audit-log-path", places.AUDIT_LOG, "--audit-log-maxsize", "10000",
        ],
    )  # fmt: skip


def is_ready() -> bool:
    """The API server says that it is ready."""
    return programs.path("kubectl").exists() and kubectl("get", "--raw", "/readyz", check=False).returncode == 0


def kubectl(*words: str | Path, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator; raises Refusal with its complaint unless `check` is off."""
    command = [str(programs.path("kubectl")), "--kubeconfig", str(places.KUBECONFIG), *map(str, words)]
    done = subprocess.run(command, check=False, input=given, capture_output=True, text=True)
    if check and done.returncode:
        raise Refusal(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done
