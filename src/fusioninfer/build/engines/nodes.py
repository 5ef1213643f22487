"""What holds for every engine whose processes lie on several nodes, or share the GPUs of one.

Each check refuses what the engine itself would refuse minutes later, and says what to write instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines.argv import Flags, Program

WORKER_INDEX = "$(LWS_WORKER_INDEX)"
"""Filled in by kubelet. LeaderWorkerSet gives the variable to every container: 1, 2, ... in the workers."""
LEADER_ADDRESS = "$(LWS_LEADER_ADDRESS)"
"""The leader's DNS name, which resolves before the leader is ready."""

ITS_OWN_WAY = f"engine: custom with multinode.workerTemplate, which may use {LEADER_ADDRESS} and {WORKER_INDEX}"


def field_of(container: Manifest, role: Role) -> str:
    """Where the user wrote what `container` executes."""
    part = "args" if container.get("args") or not container.get("command") else "command"
    return f"{role.path}.template.spec.containers[{container['name']}].{part}"


def pod_ip(variable: str) -> Manifest:
    """An environment variable with the pod's own address: a pod's DNS name may resolve later than it starts."""
    return {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def refuse_backend(role: Role, engine: str) -> None:
    """For engines whose processes find each other in one way only."""
    if role.backend is not None:
        raise InvalidSpec(f"{role.path}.multinode.backend", f"{role.backend!r}: {engine} has no backends; remove it")


def check_is_known(
    program: Program, container: Manifest, role: Role, written_as: str, purpose: str = "for several nodes"
) -> None:
    """What is done for `purpose` takes flags, appended to words that are known to be the engine's."""
    if program.start is not None:
        return
    where = field_of(container, role)
    if program.is_in_shell:
        raise InvalidSpec(
            where,
            f"a shell's script cannot be completed {purpose}: write command and args as lists, such as "
            f"{written_as}, or {_own_way(role)}",
        )
    if not program.words:
        raise InvalidSpec(
            where,
            f"empty: flags {purpose} are appended to args, and in their presence the image's own default "
            f"args do not count; write the model in args, such as {written_as}",
        )
    raise InvalidSpec(
        where,
        f"it cannot be told which of these words the engine reads: write {written_as}, or {_own_way(role)}",
    )


def _own_way(role: Role) -> str:
    return ITS_OWN_WAY if role.nodes_per_replica > 1 else "engine: custom"


def user_finds_nodes(flags: Flags, family: tuple[str, str, str], container: Manifest, role: Role) -> bool:
    """Whether the user wrote the flags by which nodes find each other: their number, the rank, the address.

    All three or none: with some of them neither we nor the user would know what the rest means.
    """
    number, rank, _ = family
    where = field_of(container, role)
    written = [name for name in family if flags.has(name)]
    if not written:
        return False
    if len(written) < len(family):
        missing = ", ".join(name for name in family if name not in written)
        raise InvalidSpec(
            where, f"{', '.join(written)} without {missing}: give all or none; FusionInfer adds them where none is"
        )
    nodes = role.nodes_per_replica
    if flags.number(number, nodes) not in (nodes, None):
        raise InvalidSpec(
            where, f"{number} {flags.value(number)} is not multinode.nodeCount, {nodes}; write {nodes}, or remove "
            f"{', '.join(family)}: FusionInfer adds them",
        )  # fmt: skip
    if flags.number(rank, None) is not None:
        raise InvalidSpec(
            where, f"{rank} {flags.value(rank)} would be the same on every node; write {WORKER_INDEX}, or remove "
            f"{', '.join(family)}: FusionInfer adds them",
        )  # fmt: skip
    return True


def check_one_node(flags: Flags, number: str, container: Manifest, role: Role) -> None:
    """A copy that waits for nodes which nobody starts never becomes ready."""
    nodes = flags.number(number, 1)
    if nodes is not None and nodes > 1:
        raise InvalidSpec(
            field_of(container, role),
            f"{number} {nodes}, and the role has one node per copy: set multinode.nodeCount to {nodes} and remove "
            f"{number}; FusionInfer adds it",
        )


def gpus(container: Manifest) -> int:
    """The GPUs that a container asks for, such as nvidia.com/gpu or amd.com/gpu; 0: it does not say."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return sum(int(n) for name, n in asked.items() if name.endswith("/gpu") and re.fullmatch(r"[0-9]{1,9}", str(n)))


def check_gpus(sizes: Mapping[str, int | None], container: Manifest, role: Role) -> tuple[str, ...]:
    """Whether processes of the parallel `sizes`, by flag, fit the copy's nodes and their GPUs; warns of idle GPUs.

    Nothing is checked if a size is not written out, which is None. In a pod that asks for no GPUs any number of
    processes fits: it may run on CPUs.
    """
    product = math.prod(size or 1 for size in sizes.values())
    nodes, own, where = role.nodes_per_replica, gpus(container), field_of(container, role)
    if None in sizes.values():
        return ()
    factors = " x ".join(f"{flag} {size}" for flag, size in sizes.items() if size != 1) or f"no {next(iter(sizes))}"
    start = f"{factors} makes {product} process{'es' if product != 1 else ''}"
    if product % nodes:
        raise InvalidSpec(
            where, f"{start}, which {nodes} nodes cannot share evenly: change the sizes, or multinode.nodeCount"
        )
    share = product // nodes
    spread = f"{start}, {share} on each of {nodes} nodes" if nodes > 1 else start
    if own and share > own:
        raise InvalidSpec(
            where,
            f"{spread}, and a pod has {own} GPU{'s' if own != 1 else ''}: ask for {share} GPUs in resources.limits, "
            f"set multinode.nodeCount to {math.ceil(product / own)}, or make the sizes smaller",
        )
    return (f"{own - share} of {own} GPUs of each pod stay idle: {spread}",) if share < own else ()


def shares_memory(sizes: Mapping[str, int | None], container: Manifest, role: Role) -> bool:
    """Whether several processes of a pod talk to each other."""
    return role.nodes_per_replica > 1 or gpus(container) > 1 or any((size or 1) > 1 for size in sizes.values())
