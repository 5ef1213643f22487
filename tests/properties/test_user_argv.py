"""Whatever the user writes to be executed arrives in the process as it would without us, and ours after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.engines import Engine, Launch
from fusioninfer.build.engines.custom import ENGINE as CUSTOM
from fusioninfer.build.engines.sglang import ENGINE as SGLANG
from fusioninfer.build.engines.trtllm import ENGINE as TRTLLM
from fusioninfer.build.engines.vllm import ENGINE as VLLM
from tests import make

# --- kubelet's expansion ------------------------------------------------------------------------------------------


def expanded(word: str, variables: Mapping[str, str]) -> str:
    """`word` as kubelet passes it on (kubernetes, third_party/forked/golang/expansion/expand.go).

    `$$` is a `$`, and what follows it is not looked at; `$(X)` is X's value, or stays if there is no X; any other
    `$` stays, together with the character after it. What a value brings in is not expanded again.
    """
    passed_on, at = "", 0
    while at < len(word):
        if word[at] != "$" or at + 1 == len(word):
            passed_on, at = passed_on + word[at], at + 1
            continue
        following, end = word[at + 1], word.find(")", at + 2)
        if following == "$":
            passed_on, at = passed_on + "$", at + 2
        elif following == "(" and end != -1:
            name = word[at + 2 : end]
            passed_on, at = passed_on + variables.get(name, f"$({name})"), end + 1
        elif following == "(":
            passed_on, at = passed_on + "$(", at + 2
        else:
            passed_on, at = passed_on + "$" + following, at + 2
    return passed_on


def test_the_expansion_is_kubelets() -> None:
    variables = {"A": "1", "B": "$(A)"}
    cases = {
        "$(A)": "1", "$$(A)": "$(A)", "$$$(A)": "$1", "$(B)": "$(A)", "$(C)": "$(C)", "$(A": "$(A", "$A": "$A",
        "$": "$", "$$": "$", "a$(A)b$(A)": "a1b1", "$()": "$()", "$x$(A)": "$x1",
    }  # fmt: skip
    assert {word: expanded(word, variables) for word in cases} == cases


VARIABLES = {
    "VLLM_HOST_IP": "10.0.0.7",
    "FUSIONINFER_POD_IP": "10.0.0.7",
    "LWS_LEADER_ADDRESS": "qwen-0.qwen.default",
    "LWS_WORKER_INDEX": "1",
    "LWS_GROUP_SIZE": "2",
    "X": "x y",
}
EXPANDED = {
    "$(VLLM_HOST_IP)": "10.0.0.7",
    "$(LWS_LEADER_ADDRESS)": "qwen-0.qwen.default",
    "$(LWS_WORKER_INDEX)": "1",
    "$(FUSIONINFER_POD_IP):20000": "10.0.0.7:20000",
    "$(LWS_LEADER_ADDRESS):20000": "qwen-0.qwen.default:20000",
}
"""Of the words that we append, those that kubelet changes."""


# --- what users write ---------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
odd = st.sampled_from(
    ["$(X)", "$$(X)", "$$", "$", "$(LWS_WORKER_INDEX)", "${X}", "$(", "a b", "'", '"', "\n", "\\", "", "--", "-", "=",
     "-1", "serve", "vllm", "-m", "ünï", "; rm -rf /", "`x`", "{", "#"]
)  # fmt: skip
json_texts = st.dictionaries(texts, st.one_of(texts, st.integers(), st.lists(odd, max_size=2)), max_size=3).map(
    json.dumps
)
flags = st.sampled_from(
    ["--model", "--served-model-name", "--kv-transfer-config", "--max-model-len", "--trust-remote-code", "--x.y", "-q",
     "--host", "--enable-metrics", "--shutdown-timeout", "--unknown=$(X)", "--port=8001"]
)  # fmt: skip
user_words = st.lists(st.one_of(texts, odd, json_texts, flags), max_size=8)
stripped = st.sampled_from(
    [("-asc", "4"), ("--api-server-count=4",), ("--api_server_count", "$(X)"), ("--grpc",), ("--grpc-port", "1")]
)
"""Flags of vLLM's HTTP server, which its workers lack."""

PROGRAMS: dict[str, tuple[Engine, tuple[str, ...], tuple[str, ...]]] = {
    "vllm": (VLLM, ("vllm", "serve"), ("-tp", "2")),
    "sglang": (SGLANG, ("sglang", "serve"), ("--tp", "2")),
    "trtllm": (TRTLLM, ("trtllm-serve",), ()),
    "custom": (CUSTOM, ("/start",), ()),
}
"""An engine, its program, and words that two nodes can share."""


def process(container: Manifest, launch: Launch) -> list[str]:
    """The argv of the process: what pods are made of, expanded by kubelet."""
    command = container.get("command") or [] if launch.command is None else launch.command
    return [expanded(word, VARIABLES) for word in (*command, *launch.args)]


def launched(engine: Engine, container: Manifest, nodes: int) -> Launch:
    try:
        return engine.leader(container, make.role_of(container, nodes=nodes))
    except InvalidSpec:
        assume(False)
        raise


@settings(max_examples=500, deadline=None)
@given(
    name=st.sampled_from(sorted(PROGRAMS)),
    nodes=st.sampled_from([1, 2]),
    words=user_words,
    in_command=st.booleans(),
)
def test_the_leader_runs_the_users_words_and_then_ours(
    name: str, nodes: int, words: list[str], in_command: bool
) -> None:
    engine, program, sizes = PROGRAMS[name]
    nodes = nodes if sizes else 1
    every = [*program, *words, *(sizes if nodes > 1 else ())]
    split = len(every) if in_command else len(program)
    container = {"name": "engine", "image": "x", "command": every[:split], "args": every[split:]}

    launch = launched(engine, container, nodes)
    ours = launch.args[len(container["args"]) :]

    assert list(launch.args[: len(container["args"])]) == container["args"]
    assert launch.command is None
    assert process(container, launch) == [
        *process(container, Launch(port=None, args=tuple(container["args"]))),
        *(EXPANDED.get(word, word) for word in ours),
    ]
    assert not any("$" in word for word in process({}, Launch(port=None, args=ours)))


@settings(max_examples=500, deadline=None)
@given(
    words=user_words,
    removed=st.lists(st.tuples(st.integers(0, 8), stripped), max_size=2),
    form=st.sampled_from([("vllm", "serve"), ("/opt/bin/vllm", "serve"), ()]),
    in_command=st.booleans(),
)
def test_a_worker_of_vllm_keeps_all_words_but_those_of_the_http_server(
    words: list[str], removed: Sequence[tuple[int, tuple[str, ...]]], form: tuple[str, ...], in_command: bool
) -> None:
    pieces: list[tuple[str, ...]] = [(word,) for word in words]
    kept = [*form, *words, "-tp", "2"]
    for at, flag in removed:
        pieces.insert(min(at, len(pieces)), flag)
    every = [*form, *(word for piece in pieces for word in piece), "-tp", "2"]
    split = (len(every) if in_command else len(form)) if form else 0
    container = {"name": "engine", "image": "vllm", "command": every[:split], "args": every[split:]}
    assume(not any(word in ("vllm", "serve", "-m") for word in words))
    launched(VLLM, container, 2)

    launch = VLLM.worker(container, make.role_of(container, nodes=2))
    command = list(launch.command or container["command"])
    argv = [*command, *launch.args]
    program = list(form or ("vllm", "serve"))

    assert launch.port is None
    assert argv == [*program, *kept[len(form) :], *argv[len(program) + len(kept) - len(form) :]]
    assert argv[len(program) + len(kept) - len(form) :] == [
        "--distributed-executor-backend", "mp", "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)",
        "--master-addr", "$(LWS_LEADER_ADDRESS)", "--master-port", "29501", "--headless",
    ]  # fmt: skip
