"""SGLang's server, on one node or on several.

Sources, all SGLang 0.5.23 (server_args, http_server): port 30000; it listens on 127.0.0.1 unless --host says otherwise
and has /metrics with --enable-metrics only. /health generates a token and looks for it once a second, so it answers
after more than Kubernetes' default of one second, and gives up after 20. On several nodes every process has the same
words but for its rank; those of a rank above 0 have a server that knows /health and no /v1.

With prompts and answers apart, every process is told its side, and both sides by what the KV cache is handed over
(--disaggregation-transfer-backend, mooncake if nothing is said). The two sides of a request meet at the prefiller's
bootstrap server. A decoder does nothing without it: it never computes a prompt itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch, Transfer
from fusioninfer.build.engines.apart import handing_over, is_apart
from fusioninfer.build.engines.argv import (
    Flags,
    Option,
    Program,
    flags_of,
    following,
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
    field_of,
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
    Option("--disaggregation-mode"),
    Option("--disaggregation-transfer-backend"),
    Option("--disaggregation-bootstrap-port"),
    Option("--model-path", ("--model",)),
    Option("--served-model-name"),
    Option("--dtype"),
    Option("--kv-cache-dtype"),
    Option("--page-size"),
)
MODES = {"prefiller": "prefill", "decoder": "decode"}
"""--disaggregation-mode, by type of role."""
TRANSFERS = ("nixl", "mooncake")
"""Of --disaggregation-transfer-backend, those that spec.disaggregation.connector may ask for."""
BOOTSTRAP_PORT = 8998
"""SGLang's own default, said aloud: where a prefiller's bootstrap server listens."""


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
        launch = Launch(
            port=port,
            args=(*(container.get("args") or ()), *_reachable(server, read), *nodes),
            alive={**health, "timeoutSeconds": ALIVE_TIMEOUT_SECONDS},
            ready={**health, "timeoutSeconds": READY_TIMEOUT_SECONDS},
            env=env,
            needs_shared_memory=shares_memory(sizes, container, role),
            warnings=check_gpus(sizes, container, role),
        )
        return _apart(launch, server, read, container, role)

    def worker(self, container: Manifest, role: Role) -> Launch:
        server = program(container, _after_name)
        read = flags_of(server, OPTIONS)
        _, nodes = _finding_each_other(server, read, container, role, rank=WORKER_INDEX, address=LEADER_ADDRESS)
        args = (*(container.get("args") or ()), *_reachable(server, read), *nodes)
        launch = Launch(port=None, args=args, needs_shared_memory=True)
        return _apart(launch, server, read, container, role)


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


# --- prompts and answers apart ------------------------------------------------------------------------------------


def _apart(launch: Launch, server: Program, read: Flags, container: Manifest, role: Role) -> Launch:
    """`launch` of any process of a copy, which is told its side if its role computes prompts or answers only."""
    if not is_apart(role):
        return launch
    written_as = '["python3", "-m", "sglang.launch_server", "--model-path", "<model>"]'
    check_is_known(server, container, role, written_as, "to hand over the KV cache")
    backend = read.value("--disaggregation-transfer-backend") or _backend(role)
    port = read.value("--disaggregation-bootstrap-port") or str(BOOTSTRAP_PORT)
    wanted = {
        "--disaggregation-mode": _mode(read, container, role),
        "--disaggregation-transfer-backend": backend,
        "--disaggregation-bootstrap-port": port,
    }
    added = tuple(word for flag, value in wanted.items() if not read.has(flag) for word in (flag, value))
    transfer = Transfer(backend, _shared(server, read, port), answers_alone=False)
    where = () if port == str(BOOTSTRAP_PORT) else ({"name": "SGLANG_BOOTSTRAP_PORT", "value": port},)
    return handing_over(replace(launch, args=(*launch.args, *added)), role, transfer, "sglang", where)


def _mode(read: Flags, container: Manifest, role: Role) -> str:
    mode = MODES[role.component_type]
    if read.value("--disaggregation-mode") not in (None, mode):
        raise InvalidSpec(
            field_of(container, role),
            f"--disaggregation-mode {read.value('--disaggregation-mode')} on a {role.component_type}; write {mode}, or "
            "remove it: FusionInfer adds it",
        )
    return mode


def _backend(role: Role) -> str:
    if role.connector not in (None, *TRANSFERS):
        raise InvalidSpec(
            "spec.disaggregation.connector",
            f"{role.connector!r} is not known for sglang; write {' or '.join(TRANSFERS)}, or "
            "--disaggregation-transfer-backend in the args of both sides",
        )
    return role.connector or TRANSFERS[0]


def _shared(server: Program, read: Flags, bootstrap_port: str) -> Mapping[str, str | None]:
    """What both sides must have in common; None for what a file or kubelet may say."""
    absent = None if read.has("--config") else "not written"
    model = "".join(following(server.words, server.start or 0)[:1]) or read.value("--model-path") or absent
    flags = {flag: read.value(flag) or absent for flag in ("--dtype", "--kv-cache-dtype", "--page-size")}
    shared = {
        "the model": model,
        "--served-model-name": read.value("--served-model-name") or model,
        "--disaggregation-bootstrap-port": bootstrap_port,
        **flags,
    }
    return {word: None if value is None or "$(" in value else value for word, value in shared.items()}


ENGINE: Engine = SGLang()
