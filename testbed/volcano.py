"""Volcano: its real scheduler and controllers, started beside the cluster for pods that name it as their scheduler.

Its admission webhooks are left out: they are optional, and nothing here depends on them.
"""

from __future__ import annotations

from testbed import certificates, places, processes, programs
from testbed.control_plane import kubectl

MODULE = "volcano.sh/volcano"
SCHEDULER, CONTROLLERS = "vc-scheduler", "vc-controller-manager"
USER = "volcano"
QUEUE_SECONDS = 60
SCHEDULE_PERIOD = "200ms"
"""Its own is a second, which would be most of what a test waits for."""


def start() -> None:
    """Have it run; returns when it takes pods: the queue `default` is open."""
    module = programs.module_folder("volcano", MODULE)
    for part in ("volcano", "jobflow"):  # the controllers wait for all of their kinds
        kubectl("apply", "--server-side", "-f", module / "config" / "crd" / part / "bases")
    kubectl("wait", "--for=condition=Established", "crd/podgroups.scheduling.volcano.sh", "--timeout=30s")
    kubeconfig = places.STATE / f"{USER}.kubeconfig"
    if not kubeconfig.exists():
        certificates.issue(USER, f"/O=system:masters/CN={USER}")
        certificates.kubeconfig(USER)
    common = (
        "--kubeconfig",
        str(kubeconfig),
        "--leader-elect=false",
        "--kube-api-qps",
        "500",
        "--kube-api-burst",
        "1000",
    )
    running = {process.name for process in processes.recorded() if process.alive}
    if SCHEDULER not in running:
        conf = module / "installer" / "helm" / "chart" / "volcano" / "config" / "volcano-scheduler.conf"
        processes.start(
            SCHEDULER,
            [
                programs.path(SCHEDULER), *common, "--schedule-period", SCHEDULE_PERIOD, "--scheduler-conf", conf,
                "--listen-address", "127.0.0.1:18080", "--healthz-address", "127.0.0.1:11251",
            ],
        )  # fmt: skip
    if CONTROLLERS not in running:
        processes.start(
            CONTROLLERS,
            [
                programs.path(CONTROLLERS), *common,
                "--listen-address", "127.0.0.1:18081", "--healthz-address", "127.0.0.1:11252",
            ],
        )  # fmt: skip
    processes.await_that(SCHEDULER, "has no open queue", _takes_pods, QUEUE_SECONDS)


def _takes_pods() -> bool:
    found = kubectl("get", "queue", "default", "-o", "jsonpath={.status.state}", check=False)
    return found.stdout == "Open"
