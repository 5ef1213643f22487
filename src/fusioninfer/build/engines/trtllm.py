"""TensorRT-LLM's server, on one node.

Sources: TensorRT-LLM 1.2 `trtllm-serve`: port 8000, /health; it listens on localhost unless --host says otherwise.
Several nodes are one MPI world: mpirun on the first node starts the processes of the others through sshd, with keys,
and the image must have both. There is no flag that tells a process its rank, so nothing can be derived.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Engine, Evidence, Launch
from fusioninfer.build.engines.apart import is_apart
from fusioninfer.build.engines.argv import Option, flags_of, image, is_left_to_image, port_of, program, words
from fusioninfer.build.engines.nodes import ITS_OWN_WAY, refuse_backend, shares_memory

DEFAULT_PORT = 8000
PROGRAM = "trtllm-serve"
OTHER_PROGRAMS = ("disaggregated", "disaggregated_mpi_worker", "mm_embedding_serve")
"""Subcommands of trtllm-serve that are no such server."""
IMAGES = ("tensorrt-llm", "trtllm")
SIZES = ("--tp-size", "--pp-size")
OPTIONS = (Option("--host"), *(Option(size) for size in SIZES))


class TRTLLM:
    """TensorRT-LLM, started by `trtllm-serve`, also under mpirun or trtllm-llmapi-launch."""

    name = "trtllm"

    def evidence(self, container: Manifest) -> Evidence | None:
        if _after_name(words(container)) is not None:
            return Evidence(f"the command is `{PROGRAM}`")
        path = image(container).path
        is_theirs = path[-1] in IMAGES or path[-2:] == ("tensorrt-llm", "release")
        if is_theirs and is_left_to_image(container):
            return Evidence(f"the image is called {'/'.join(path[-2:])}", is_sure=False)
        return None

    def leader(self, container: Manifest, role: Role) -> Launch:
        _check_one_node(role)
        _check_whole(role)
        server = program(container, _after_name)
        read = flags_of(server, OPTIONS)
        host = () if server.start is None or read.has("--host") else ("--host", "0.0.0.0")
        port = port_of(server, container, DEFAULT_PORT)
        health = {"httpGet": {"path": "/health", "port": port}}
        return Launch(
            port=port,
            args=(*(container.get("args") or ()), *host),
            alive=health,
            ready=health,
            needs_shared_memory=shares_memory({size: read.number(size, 1) for size in SIZES}, container, role),
        )

    def worker(self, container: Manifest, role: Role) -> Launch:
        raise _several_nodes(role)


def _after_name(argv: Sequence[str]) -> int | None:
    """The word after `trtllm-serve`."""
    for at, word in enumerate(argv):
        if posixpath.basename(word) == PROGRAM and not set(argv[at + 1 : at + 2]) & set(OTHER_PROGRAMS):
            return at + 1
    return None


def _check_one_node(role: Role) -> None:
    refuse_backend(role, "trtllm")
    if role.nodes_per_replica > 1:
        raise _several_nodes(role)


def _check_whole(role: Role) -> None:
    """Its own router of prompts and answers wants every server's address in a file, before any of them is there."""
    if is_apart(role):
        raise InvalidSpec(
            f"{role.path}.componentType",
            f"{role.component_type!r}: trtllm hands the KV cache over only under an orchestrator with a fixed list of "
            "servers; write a worker, run vllm or sglang, or engine: custom with all of the transfer in the template",
        )


def _several_nodes(role: Role) -> InvalidSpec:
    return InvalidSpec(
        f"{role.path}.multinode.nodeCount",
        f"{role.nodes_per_replica}: the nodes of trtllm are one MPI world, for which mpirun needs sshd and keys in the "
        f"image; write 1, or {ITS_OWN_WAY}",
    )


ENGINE: Engine = TRTLLM()
