"""How vLLM hands the KV cache over: `--kv-transfer-config`, the user's or ours.

Sources, all vLLM 0.32: the connectors (distributed/kv_transfer/kv_connector/factory.py); a config in dotted flags
(utils/argparse_utils.py: `--kv-transfer-config.kv_connector=X`) stands instead of one in JSON; both sides of
NixlConnector must agree on vLLM's version, model, dtype, cache dtype and more (v1/nixl/metadata.py), one's tensor
parallel size must divide the other's (v1/utils.py, tp_ratio), and decoders have no pipeline (v1/nixl/base_worker.py).
It listens for the other side on VLLM_NIXL_SIDE_CHANNEL_HOST, which is also what it tells the other side, and on
VLLM_NIXL_SIDE_CHANNEL_PORT plus its data parallel rank; the host's default is localhost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Transfer
from fusioninfer.build.engines.argv import Flags, Option, Program, flags_of, following
from fusioninfer.build.engines.nodes import field_of, pod_ip

FLAG = "--kv-transfer-config"
SIDE_CHANNEL_PORT = 5600
"""vLLM's own default, said aloud; far below nodes' MASTER_PORT and above it a port for each data parallel rank."""
PROTOCOLS = {
    "NixlConnector": "nixlv2",
    "NixlPullConnector": "nixlv2",
    "NixlPushConnector": "nixlv2",
    "MooncakeConnector": "mooncake",
    "ExampleConnector": "shared-storage",
    "SharedStorageConnector": "shared-storage",
    "OffloadingConnector": "offloading",
}
"""Connectors, and what the decoders' sidecar speaks for each."""
NIXL = tuple(name for name, protocol in PROTOCOLS.items() if protocol == "nixlv2")
CONFIGS = {
    "nixl": {"prefiller": ("NixlConnector", "kv_both"), "decoder": ("NixlConnector", "kv_both")},
    "mooncake": {"prefiller": ("MooncakeConnector", "kv_producer"), "decoder": ("MooncakeConnector", "kv_consumer")},
}
"""By the user's word, connector and role of each side."""
WRONG_ROLES = {"prefiller": ("kv_consumer", "kv_producer"), "decoder": ("kv_producer", "kv_consumer")}
"""By type of role, what it may not be, and what it should."""
OPTIONS = (
    Option(FLAG),
    Option("--config"),
    Option("--model"),
    Option("--served-model-name"),
    Option("--dtype"),
    Option("--kv-cache-dtype"),
    Option("--block-size"),
    Option("--tensor-parallel-size", ("-tp",)),
    Option("--pipeline-parallel-size", ("-pp",)),
)


@dataclass(frozen=True, slots=True)
class Handover:
    """What a process of a prefiller or decoder is told, and what it means."""

    args: tuple[str, ...]
    env: tuple[Manifest, ...]
    transfer: Transfer
    protocol: str


def handover(server: Program, container: Manifest, role: Role) -> Handover:
    """How the role, a prefiller or a decoder, hands the KV cache over; raises InvalidSpec for what cannot work."""
    read = flags_of(server, OPTIONS)
    written = _written(server, read, container, role)
    config = _ours(read, container, role) if written is None else written
    connector = _connector(config, container, role)
    _check_config(config, container, role)
    if connector in NIXL and role.component_type == "decoder":
        _check_no_pipeline(read, container, role)
    env = (
        pod_ip("VLLM_NIXL_SIDE_CHANNEL_HOST"),
        {"name": "VLLM_NIXL_SIDE_CHANNEL_PORT", "value": str(SIDE_CHANNEL_PORT)},
    )
    return Handover(
        () if written is not None else (FLAG, msgspec.json.encode(config).decode()),
        env if connector in NIXL else (),
        Transfer(connector, _shared(server, read), _divisible(connector, read)),
        PROTOCOLS[connector],
    )


# --- the config ---------------------------------------------------------------------------------------------------


def _ours(read: Flags, container: Manifest, role: Role) -> Mapping[str, Any]:
    if role.connector is None and read.has("--config"):
        raise InvalidSpec(
            "spec.disaggregation.connector",
            f"needed, since what a file of --config says of connectors cannot be seen; write nixl, or {FLAG} in "
            f"{field_of(container, role)}",
        )
    word = role.connector or "nixl"
    if word not in CONFIGS:
        raise InvalidSpec(
            "spec.disaggregation.connector",
            f"{word!r} is not known for vllm; write {' or '.join(CONFIGS)}, or {FLAG} in {field_of(container, role)}",
        )
    connector, kv_role = CONFIGS[word][role.component_type]
    return {"kv_connector": connector, "kv_role": kv_role}


def _written(server: Program, read: Flags, container: Manifest, role: Role) -> Mapping[str, Any] | None:
    """The user's config; None if there is none."""
    if dotted := dict(_dotted(server)):
        return dotted
    if not read.has(FLAG):
        return None
    try:
        config = msgspec.json.decode(read.value(FLAG) or "")
    except msgspec.DecodeError:
        config = None
    if not isinstance(config, dict):
        raise InvalidSpec(
            field_of(container, role),
            f"{FLAG} {read.value(FLAG)!r} is no JSON object; write one such as "
            '{"kv_connector":"NixlConnector","kv_role":"kv_both"}, or remove it: FusionInfer adds it',
        )
    return config


def _dotted(server: Program) -> Iterator[tuple[str, Any]]:
    """What is written as `--kv-transfer-config.kv_role kv_both`: the config's fields that are no mappings."""
    for at, word in enumerate(server.words):
        spelling, equals, inline = word.partition("=")
        flag, dot, key = spelling.partition(".")
        if dot and at >= (server.start or 0) and flag.replace("_", "-") == FLAG:
            value = inline if equals else "".join(server.words[at + 1 : at + 2])
            yield key, value


def _connector(config: Mapping[str, Any], container: Manifest, role: Role) -> str:
    """The connector that meets the other side: of several, the first one that does."""
    name = config.get("kv_connector")
    if name == "MultiConnector":
        extra = config.get("kv_connector_extra_config")
        inner = extra.get("connectors") if isinstance(extra, Mapping) else None
        names = [part.get("kv_connector") for part in inner or () if isinstance(part, Mapping)]
        name = next((inner for inner in names if inner in PROTOCOLS), name)
    if name not in PROTOCOLS:
        raise InvalidSpec(
            field_of(container, role),
            f"kv_connector {name!r}: decoders are given the KV cache by {', '.join(PROTOCOLS)}; write one of these, or "
            "engine: custom with all of the transfer in the template",
        )
    return str(name)


def _check_config(config: Mapping[str, Any], container: Manifest, role: Role) -> None:
    wrong, right = WRONG_ROLES[role.component_type]
    if config.get("kv_role") == wrong:
        gives = "gives the KV cache away" if role.component_type == "prefiller" else "takes the KV cache"
        raise InvalidSpec(
            field_of(container, role), f"kv_role {wrong!r}: a {role.component_type} {gives}; write {right} or kv_both"
        )
    engine_id = config.get("engine_id")
    if engine_id is not None and "$(" not in str(engine_id):
        raise InvalidSpec(
            field_of(container, role),
            f"engine_id {engine_id!r} would be that of every copy, and of the one that replaces it; remove it: vLLM "
            "makes one for each",
        )


def _check_no_pipeline(read: Flags, container: Manifest, role: Role) -> None:
    stages = read.number("--pipeline-parallel-size", 1)
    if stages is not None and stages > 1:
        raise InvalidSpec(
            field_of(container, role),
            f"--pipeline-parallel-size {stages}: decoders that take the KV cache by nixl have no pipeline; write "
            "--tensor-parallel-size instead",
        )


# --- what both sides share ----------------------------------------------------------------------------------------


def _shared(server: Program, read: Flags) -> Mapping[str, str | None]:
    """What vLLM itself compares, and the names by which requests ask for the model.

    A value that stands in a file, or that kubelet puts in, cannot be told. Where nothing is written both sides have
    the same default, which need not be known.
    """
    absent = None if read.has("--config") else "not written"
    positional = "".join(following(server.words, server.start or 0)[:1])
    model = _told(positional or read.value("--model"), absent)
    names = read.last("--served-model-name")
    served = (
        model if names is None else _told(" ".join((names.value or "", *following(server.words, names.stop))), None)
    )
    flags = ("--dtype", "--kv-cache-dtype", "--block-size")
    return {
        "the model": model,
        "--served-model-name": served,
        **{flag: _told(read.value(flag), absent) for flag in flags},
    }


def _told(value: str | None, absent: str | None) -> str | None:
    if value is None:
        return absent
    return None if "$(" in value else value


def _divisible(connector: str, read: Flags) -> Mapping[str, int | None]:
    absent = None if read.has("--config") else 1
    flag = "--tensor-parallel-size"
    return {flag: read.number(flag, absent)} if connector in NIXL else {}
