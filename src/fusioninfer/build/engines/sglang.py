"""SGLang's server, on one node or on several.

Sources, all SGLang 0.5.23 (server_args, http_server): port 30000; it listens on 127.0.0.1 unless --host says otherwise
and has /metrics with --enable-metrics only. /health generates a token and looks for it once a second, so it answers
after more than Kubernetes' default of one second, and gives up after 20. On several nodes every process has the same
words but for its rank; those of a rank above 0 have a server that knows /health and no /v1.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from itertools import pairwise

from fusioninfer.api.service import Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch
from fusioninfer.build.engines.argv import (
    Flags,
    Option,
    Program,
    flags_of,
    image,
    is_left_to_image,
    port_of,
    program,
    words,
)
from fusioninfer.build.engines.nodes import (
    LEADER_ADDRESS,
    WORKER_INDEX,
    check_gpus,
    check_is_known,
    check_one_node,
    pod_ip,
    refuse_backend,
    shares_memory,
    user_finds_nodes,
)

DEFAULT_PORT = 30000
RENDEZVOUS_PORT = 20000
"""Of --dist-init-addr; data parallel attention takes the ports after it as well."""
MODULE = "sglang.launch_server"
IMAGES = ("sglang",)
READY_TIMEOUT_SECONDS = 5
ALIVE_TIMEOUT_SECONDS = 20
"""As long as /health itself waits for its token (SGLANG_HEALTH_CHECK_TIMEOUT): a busy server is not a dead one."""

NODES = ("--nnodes", "--node-rank", "--dist-init-addr")
OPTIONS = (
    Option("--tp-size", ("--tp", "--tensor-parallel-size")),
    Option("--pp-size", ("--pp", "--pipeline-parallel-size")),
    Option("--dp-size", ("--dp", "--data-parallel-size")),
    Option("--enable-dp-attention", takes_value=False),
    Option("--nnodes"),
    Option("--node-rank"),
    Option("--dist-init-addr", ("--nccl-init-addr",)),
    Option("--host"),
    Option("--enable-metrics", takes_value=False),
    Option("--config"),
)


class SGLang:
    """SGLang, started by `sglang serve`, by its module, or by an image whose entry point is its server."""

    name = "sglang"

    def evidence(self, container: Manifest) -> Evidence | None:
        argv = words(container)
        if (start := _after_name(argv)) is not None:
            is_module = argv[start - 1] == MODULE
            return Evidence(f"the command runs {MODULE}" if is_module else "the command is `sglang serve`")
        name = image(container).name
        if name in IMAGES and is_left_to_image(container):
            return Evidence(f"the image is called {name}", is_sure=False)
        return None

    def leader(self, container: Manifest, role: Role) -> Launch:
        server = program(container, _after_name)
        read = flags_of(server, OPTIONS)
        sizes = _sizes(server, read)
        env, nodes = _finding_each_other(server, read, container, role, rank="0", address="$(FUSIONINFER_POD_IP)")
        port = port_of(server, container, DEFAULT_PORT)
        health = {"httpGet": {"path": "/health", "port": port}}
        return Launch(
            port=port,
            args=(*(container.get("args") or ()), *_reachable(server, read), *nodes),
            alive={**health, "timeoutSeconds": ALIVE_TIMEOUT_SECONDS},
            ready={**health, "timeoutSeconds": READY_TIMEOUT_SECONDS},
            env=env,
            needs_shared_memory=shares_memory(sizes, container, role),
            warnings=check_gpus(sizes, container, role),
        )

    def worker(self, container: Manifest, role: Role) -> Launch:
        server = program(container, _after_name)
        read = flags_of(server, OPTIONS)
        _, nodes = _finding_each_other(server, read, container, role, rank=WORKER_INDEX, address=LEADER_ADDRESS)
        args = (*(container.get("args") or ()), *_reachable(server, read), *nodes)
        return Launch(port=None, args=args, needs_shared_memory=True)


def _after_name(argv: Sequence[str]) -> int | None:
    """The word after `sglang serve`, or after its module."""
    for at, (first, second) in enumerate(pairwise(argv)):
        if (posixpath.basename(first) == "sglang" and second == "serve") or (first == "-m" and second == MODULE):
            return at + 2
    return None


def _sizes(server: Program, read: Flags) -> Mapping[str, int | None]:
    """The parallel sizes by flag, of all nodes together; None for those that are not written out.

    Data parallel attention divides the tensor parallel processes; without it there are as many more of them.
    """
    absent = None if server.start is None or read.has("--config") else 1
    copies = () if read.is_on("--enable-dp-attention") else ("--dp-size",)
    return {flag: read.number(flag, absent) for flag in ("--tp-size", "--pp-size", *copies)}


def _reachable(server: Program, read: Flags) -> tuple[str, ...]:
    """What lets others than the pod itself reach the server and see its metrics."""
    if server.start is None:
        return ()
    host = () if read.has("--host") else ("--host", "0.0.0.0")
    metrics = () if read.has("--enable-metrics") else ("--enable-metrics",)
    return (*host, *metrics)


def _finding_each_other(
    server: Program, read: Flags, container: Manifest, role: Role, *, rank: str, address: str
) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    """Environment and flags by which the nodes of a copy become one engine, but for those that the user wrote."""
    refuse_backend(role, "sglang")
    if role.nodes_per_replica == 1:
        check_one_node(read, "--nnodes", container, role)
        return (), ()
    check_is_known(server, container, role, '["python3", "-m", "sglang.launch_server", "--model-path", "<model>"]')
    if user_finds_nodes(read, NODES, container, role):
        return (), ()
    nodes = str(role.nodes_per_replica)
    where = f"{address}:{RENDEZVOUS_PORT}"
    return (
        (pod_ip("FUSIONINFER_POD_IP"),),
        ("--nnodes", nodes, "--node-rank", rank, "--dist-init-addr", where),
    )


ENGINE: Engine = SGLang()
