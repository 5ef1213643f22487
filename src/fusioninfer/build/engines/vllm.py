"""vLLM's OpenAI server, on one node or on several.

Sources, all vLLM 0.32: port 8000 unless --port says otherwise; /health is refused while the model loads, 200 once it
serves, 503 after the engine died; VLLM_ENGINE_READY_TIMEOUT_S (600 s) ends a slow start by itself; VLLM_HOST_IP is
the address by which other processes reach this one, else guessed by a route to 8.8.8.8 (utils/network_utils.py);
without --shutdown-timeout SIGTERM aborts what is being answered (v1/engine/core.py).

On several nodes (engine/arg_utils.py, config/parallel.py) every process is told how many nodes there are, which one it
is, and where the first one is: `--nnodes --node-rank --master-addr`. From these vLLM infers all that data parallelism
needs. All nodes but the first are `--headless`: they have engine processes and no HTTP server.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.ending import finish_seconds
from fusioninfer.build.engines import Engine, Evidence, Launch
from fusioninfer.build.engines.apart import handing_over, is_apart
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
    field_of,
    pod_ip,
    shares_memory,
    user_finds_nodes,
)
from fusioninfer.build.engines.vllm_transfer import handover

DEFAULT_PORT = 8000
MASTER_PORT = 29501
"""vLLM's own default, said aloud: where the first node's torch.distributed store listens."""
SERVER_MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.launchers.api_server.entry")
CLI_MODULE = "vllm.entrypoints.cli.main"
RELEASED_IMAGES = ("vllm-openai", "vllm-openai-rocm", "vllm-openai-xpu", "vllm-openai-cpu", "vllm-cpu", "vllm")
"""Images of vLLM whose tags are vLLM's versions."""
IMAGES = (*RELEASED_IMAGES, "llm-d-cuda")

NODES = ("--nnodes", "--node-rank", "--master-addr")
INFERRED = ("--data-parallel-start-rank", "--data-parallel-rank", "--data-parallel-address")
"""What vLLM takes from `NODES`; --data-parallel-start-rank beside an HTTP server would switch hybrid balancing on."""
EXTERNAL = ("--data-parallel-external-lb", "--data-parallel-multi-port-external-lb")
API_ONLY = ("--api-server-count", "--grpc-port", "--grpc", "--data-parallel-hybrid-lb", EXTERNAL[1])
"""Flags of the HTTP server that --headless does not suffer (entrypoints/cli/serve.py); --grpc would win over it."""
SIZES = (
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--prefill-context-parallel-size",
    "--data-parallel-size",
)
"""What multiplies to the number of processes with a GPU each; --decode-context-parallel-size does not."""
OPTIONS = (
    Option("--tensor-parallel-size", ("-tp",)),
    Option("--pipeline-parallel-size", ("-pp",)),
    Option("--prefill-context-parallel-size", ("-pcp",)),
    Option("--data-parallel-size", ("-dp",)),
    Option("--data-parallel-size-local", ("-dpl",)),
    Option("--data-parallel-start-rank", ("-dpr",)),
    Option("--data-parallel-rank", ("-dpn",)),
    Option("--data-parallel-address", ("-dpa",)),
    Option("--data-parallel-backend", ("-dpb",)),
    Option("--data-parallel-hybrid-lb", ("-dph",), takes_value=False),
    Option("--data-parallel-external-lb", ("-dpe",), takes_value=False),
    Option("--data-parallel-multi-port-external-lb", ("-dpm",), takes_value=False),
    Option("--distributed-executor-backend"),
    Option("--nnodes", ("-n",)),
    Option("--node-rank", ("-r",)),
    Option("--master-addr"),
    Option("--master-port"),
    Option("--headless", takes_value=False),
    Option("--api-server-count", ("-asc",)),
    Option("--grpc", takes_value=False),
    Option("--grpc-port"),
    Option("--shutdown-timeout"),
    Option("--host"),
    Option("--config"),
)


class VLLM:
    """vLLM, started by `vllm serve`, by its module, or by an image whose entry point is its server."""

    name = "vllm"

    def evidence(self, container: Manifest) -> Evidence | None:
        argv = words(container)
        if (start := _after_name(argv)) is not None:
            is_module = argv[start - 1] in SERVER_MODULES
            return Evidence(f"the command runs {argv[start - 1]}" if is_module else "the command is `vllm serve`")
        name = image(container).name
        if name in IMAGES and is_left_to_image(container):
            return Evidence(f"the image is called {name}", is_sure=name.startswith("vllm-openai"))
        return None

    def leader(self, container: Manifest, role: Role) -> Launch:
        server = program(container, _after_name)
        read = flags_of(server, OPTIONS)
        sizes = _sizes(server, read, role)
        added = _shutdown_timeout(server, read, container, role)
        if role.nodes_per_replica == 1:
            _check_one_node(read, container, role)
        else:
            _check_several_nodes(server, read, container, role)
            added = (*_finding_each_other(read, container, role, rank="0", address="$(VLLM_HOST_IP)"), *added)
        port = port_of(server, container, DEFAULT_PORT)
        launch = Launch(
            port=port,
            args=(*(container.get("args") or ()), *added),
            alive=_health(port),
            ready=_health(port),
            env=_env(role),
            needs_shared_memory=shares_memory(sizes, container, role),
            warnings=(
                *(() if _by_ray(read) else check_gpus(sizes, container, role)),
                *_entry_point_twice(server, container),
            ),
        )
        return _apart(launch, server, read, container, role)

    def worker(self, container: Manifest, role: Role) -> Launch:
        """Its words are the leader's, but for its rank; `vllm serve` is what knows --headless.

        The module of the OpenAI server takes --headless and ignores it (entrypoints/launchers/api_server/entry.py),
        and an image's entry point may be that module: so the command is said here. With hybrid balancing each node
        has an HTTP server for its own data parallel ranks, and starts like the leader.
        """
        server = program(container, _after_name)
        read = flags_of(server, OPTIONS)
        _check_several_nodes(server, read, container, role)
        ours = _finding_each_other(read, container, role, rank=WORKER_INDEX, address=LEADER_ADDRESS)
        if read.is_on("--data-parallel-hybrid-lb"):
            port = port_of(server, container, DEFAULT_PORT)
            launch = Launch(
                port=port,
                args=(*(container.get("args") or ()), *ours, *_shutdown_timeout(server, read, container, role)),
                alive=_health(port),
                ready=_health(port),
                env=_env(role),
                needs_shared_memory=True,
            )
            return _apart(launch, server, read, container, role)
        command, args = _headless(server, read)
        launch = Launch(
            port=None, command=command, args=(*args, *ours, "--headless"), env=_env(role), needs_shared_memory=True
        )
        return _apart(launch, server, read, container, role)


# --- what is read -------------------------------------------------------------------------------------------------


def _after_name(argv: Sequence[str]) -> int | None:
    """The word after `vllm serve`, or after one of the modules that are the same."""
    for at, (first, second) in enumerate(pairwise(argv)):
        if posixpath.basename(first) == "vllm" and second == "serve":
            return at + 2
        if first == "-m" and second in SERVER_MODULES:
            return at + 2
        if first == "-m" and second == CLI_MODULE and "serve" in argv[at + 2 : at + 3]:
            return at + 3
    return None


def _sizes(server: Program, read: Flags, role: Role) -> Mapping[str, int | None]:
    """The parallel sizes by flag; None for those that are not written out, or that words we cannot read may say.

    On one node only the data parallel ranks of this very node count, if the user spreads them over several roles.
    """
    absent = None if server.start is None or read.has("--config") else 1
    sizes = {flag: read.number(flag, absent) for flag in SIZES}
    if role.nodes_per_replica == 1:
        if read.has("--data-parallel-size-local"):
            sizes["--data-parallel-size"] = read.number("--data-parallel-size-local", None)
        elif read.is_on("--data-parallel-external-lb") or read.has("--data-parallel-rank"):
            sizes["--data-parallel-size"] = 1
    return sizes


def _by_ray(read: Flags) -> bool:
    """Whether Ray places the processes, wherever it finds GPUs."""
    return "ray" in (read.value("--distributed-executor-backend"), read.value("--data-parallel-backend"))


def _version(container: Manifest) -> tuple[int, int] | None:
    """vLLM's version by the tag of an image of its own, such as v0.17.1; None: the tag does not say."""
    reference = image(container)
    numbers = re.match(r"v?([0-9]+)\.([0-9]+)", reference.tag)
    if reference.name not in RELEASED_IMAGES or numbers is None:
        return None
    return int(numbers[1]), int(numbers[2])


def _is_older_than_0_18(container: Manifest) -> bool:
    version = _version(container)
    return version is not None and version < (0, 18)


# --- what is added ------------------------------------------------------------------------------------------------


def _env(role: Role) -> tuple[Manifest, ...]:
    timeout = {"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": str(role.progress_deadline_seconds)}
    return timeout, pod_ip("VLLM_HOST_IP")


def _apart(launch: Launch, server: Program, read: Flags, container: Manifest, role: Role) -> Launch:
    """`launch` of any process of a copy, which hands the KV cache over if its role computes prompts or answers only.

    All processes of a copy are told the same, since each holds a part of the cache.
    """
    if not is_apart(role):
        return launch
    check_is_known(server, container, role, '["vllm", "serve", "<model>"]', "to hand over the KV cache")
    _check_is_reached(read, container, role)
    given = handover(server, container, role)
    told = replace(launch, args=(*launch.args, *given.args), env=(*launch.env, *given.env))
    return handing_over(told, role, given.transfer, given.protocol)


def _check_is_reached(read: Flags, container: Manifest, role: Role) -> None:
    """A decoder's sidecar asks the engine at localhost."""
    host = read.value("--host")
    if role.component_type == "decoder" and host not in (None, "0.0.0.0", "::", "localhost", "127.0.0.1"):
        raise InvalidSpec(
            field_of(container, role),
            f"--host {host}: a decoder's sidecar asks the engine at localhost; remove it, or write 0.0.0.0",
        )


def _shutdown_timeout(server: Program, read: Flags, container: Manifest, role: Role) -> tuple[str, ...]:
    """Requests are finished, within the pod's time to end; known since vLLM 0.18, fatal to servers before it."""
    if server.start is None or read.has("--shutdown-timeout") or _is_older_than_0_18(container):
        return ()
    return "--shutdown-timeout", str(finish_seconds(role.template["spec"], container, role.component_type))


def _finding_each_other(
    read: Flags, container: Manifest, role: Role, *, rank: str, address: str
) -> tuple[str, ...]:  # fmt: skip
    """The flags by which the nodes of a copy become one engine, but for those that the user wrote."""
    executor = () if read.has("--distributed-executor-backend") else ("--distributed-executor-backend", "mp")
    if user_finds_nodes(read, NODES, container, role):
        return executor
    port = () if read.has("--master-port") else ("--master-port", str(MASTER_PORT))
    nodes = str(role.nodes_per_replica)
    return (*executor, "--nnodes", nodes, "--node-rank", rank, "--master-addr", address, *port)


def _headless(server: Program, read: Flags) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Command and args of a process without an HTTP server, of the user's words."""
    start = server.start or 0
    instead: dict[int, tuple[str, ...]] = {
        at: () for flag in read.found if flag.name in API_ONLY for at in range(flag.start, flag.stop)
    }
    if server.is_named and server.words[start - 1] in SERVER_MODULES:
        instead[start - 1] = (CLI_MODULE, "serve")
    kept = [instead.get(at, (word,)) for at, word in enumerate(server.words)]
    command = tuple(word for part in kept[: server.split] for word in part)
    args = tuple(word for part in kept[server.split :] for word in part)
    if not server.is_named:
        return (("vllm",) if args[:1] == ("serve",) else ("vllm", "serve")), args
    return command or None, args


def _health(port: int) -> Manifest:
    return {"httpGet": {"path": "/health", "port": port}}


def _entry_point_twice(server: Program, container: Manifest) -> tuple[str, ...]:
    """The images of vllm/vllm-openai begin with `vllm serve` or its module by themselves."""
    name = image(container).name
    if server.split or not server.is_named or not name.startswith("vllm-openai"):
        return ()
    return (
        f"args begin with the server, and so does the entry point of images called {name}: "
        "if this one's does, write the server in command, or leave it out",
    )


# --- what cannot work ---------------------------------------------------------------------------------------------


def _check_one_node(read: Flags, container: Manifest, role: Role) -> None:
    _refuse_headless(read, container, role)
    check_one_node(read, "--nnodes", container, role)


def _check_several_nodes(server: Program, read: Flags, container: Manifest, role: Role) -> None:
    _check_backend(read, container, role)
    check_is_known(server, container, role, '["vllm", "serve", "<model>"]')
    _refuse_headless(read, container, role)
    user_finds_nodes(read, NODES, container, role)
    _check_data_parallel(read, container, role)


def _refuse_headless(read: Flags, container: Manifest, role: Role) -> None:
    """No API servers is another word for it (entrypoints/cli/serve.py)."""
    without_server = "--headless" if read.has("--headless") else "--api-server-count 0"
    if read.has("--headless") or read.number("--api-server-count", None) == 0:
        raise InvalidSpec(
            field_of(container, role),
            f"{without_server}: the template is that of the process which answers; remove it; FusionInfer adds "
            "--headless to the others' (multinode.nodeCount)",
        )


def _check_backend(read: Flags, container: Manifest, role: Role) -> None:
    if role.backend not in (None, "mp"):
        raise InvalidSpec(f"{role.path}.multinode.backend", f"{role.backend!r}: {_MP_ONLY}; remove it, or write mp")
    for flag in ("--distributed-executor-backend", "--data-parallel-backend"):
        if read.value(flag) == "ray":
            raise InvalidSpec(field_of(container, role), f"{flag} ray: {_MP_ONLY}; remove it, or write mp")


_MP_ONLY = "several nodes of vllm find each other by mp only, and its images have no Ray since 0.19"


def _check_data_parallel(read: Flags, container: Manifest, role: Role) -> None:
    where, nodes = field_of(container, role), role.nodes_per_replica
    for flag in INFERRED:
        if read.has(flag):
            raise InvalidSpec(
                where, f"{flag} {read.value(flag)}: on several nodes vLLM infers it from --node-rank; remove it"
            )
    for flag in EXTERNAL:
        if read.is_on(flag):
            raise InvalidSpec(
                where, f"{flag}: the ports of several nodes would each be an endpoint of its own; remove it, so that "
                "the first node balances, or write --data-parallel-hybrid-lb: then each pod serves its own ranks",
            )  # fmt: skip
    ranks = read.number("--data-parallel-size", None if read.has("--config") else 1)
    if ranks is None:
        return
    if ranks > 1 and _is_older_than_0_18(container):
        raise InvalidSpec(
            where, f"--data-parallel-size {ranks}: vLLM before 0.18 cannot spread it by --nnodes, and the image's tag "
            f"is {image(container).tag}; use an image of 0.18 or newer",
        )  # fmt: skip
    if read.is_on("--data-parallel-hybrid-lb") and ranks % nodes:
        raise InvalidSpec(
            where, f"--data-parallel-hybrid-lb: each of {nodes} nodes needs ranks of its own, and "
            f"--data-parallel-size is {ranks}; make it a multiple of {nodes}",
        )  # fmt: skip
    if ranks > 1 and ranks % nodes and nodes % ranks:
        raise InvalidSpec(
            where, f"--data-parallel-size {ranks}: {nodes} nodes cannot share its ranks evenly; make one of the two "
            "a multiple of the other",
        )  # fmt: skip
    _check_local_ranks(read, max(ranks // nodes, 1), container, role)


def _check_local_ranks(read: Flags, each: int, container: Manifest, role: Role) -> None:
    """vLLM takes --data-parallel-size-local as it is, and starts ranks twice or never if it does not fit."""
    local = read.number("--data-parallel-size-local", each)
    if local not in (each, None):
        raise InvalidSpec(
            field_of(container, role),
            f"--data-parallel-size-local {local}: each of {role.nodes_per_replica} nodes has {each}; remove it",
        )


ENGINE: Engine = VLLM()
