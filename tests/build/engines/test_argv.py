"""What is read out of the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fusioninfer.api.service import Manifest
from fusioninfer.build.engines.argv import (
    Flag,
    Image,
    Option,
    declared_port,
    flags,
    image,
    in_shell,
    is_left_to_image,
    port_in,
    port_of,
    program,
    words,
)

OPTIONS = (
    Option("--tensor-parallel-size", ("-tp",)),
    Option("--nnodes", ("-n",)),
    Option("--headless", ("-hl",), takes_value=False),
)


def a(**fields: Any) -> Manifest:
    return {"name": "engine", "image": "x", **fields}


def after_serve(argv: Sequence[str]) -> int | None:
    return argv.index("serve") + 1 if "serve" in argv else None


def test_words_are_command_and_args() -> None:
    assert words(a(command=["vllm", "serve"], args=["a b", ""])) == ("vllm", "serve", "a b", "")
    assert words(a(command=None)) == ()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("vllm", Image(("vllm",), "")),
        ("vllm/vllm-openai:v0.32.0", Image(("vllm", "vllm-openai"), "v0.32.0")),
        ("registry:5000/vllm/vllm-openai", Image(("registry:5000", "vllm", "vllm-openai"), "")),
        ("registry:5000/sglang@sha256:00", Image(("registry:5000", "sglang"), "")),
        (
            "nvcr.io/nvidia/tensorrt-llm/release:1.2.0@sha256:00",
            Image(("nvcr.io", "nvidia", "tensorrt-llm", "release"), "1.2.0"),
        ),
    ],
)
def test_an_image_is_taken_apart(reference: str, expected: Image) -> None:
    assert image({"image": reference}) == expected


@pytest.mark.parametrize(
    ("container", "start", "is_named"),
    [
        pytest.param(a(command=["vllm", "serve", "qwen"]), 2, True, id="named in command"),
        pytest.param(a(command=["numactl", "vllm"], args=["serve", "qwen"]), 3, True, id="named over command and args"),
        pytest.param(a(args=["qwen"]), 0, False, id="the image's"),
        pytest.param(a(command=["/start"], args=["qwen"]), None, False, id="another program"),
        pytest.param(a(), None, False, id="nothing written"),
        pytest.param(a(command=["sh", "-c", "vllm serve qwen"]), None, False, id="in a shell"),
        pytest.param(a(command=["sh", "-c", 'exec "$@"', "x", "vllm", "serve"]), None, True, id="after a shell"),
        pytest.param(a(command=["vllm", "serve", "sh", "-c"]), 2, True, id="a shell after it is none"),
    ],
)
def test_where_the_engines_own_words_begin(container: Manifest, start: int | None, is_named: bool) -> None:
    read = program(container, after_serve)

    assert (read.start, read.is_named) == (start, is_named)
    assert read.words[: read.split] == tuple(container.get("command") or ())


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "x"],
        ["/bin/bash", "-c", "x"],
        ["bash", "-lc", "x"],
        ["bash", "-euo", "pipefail", "-c", "x"],
        ["bash", "-o", "pipefail", "-c", "x"],
        ["bash", "--norc", "-ce", "x"],
        ["busybox", "ash", "-c", "x"],
        ["numactl", "-N", "0", "zsh", "-c", "x"],
    ],
)
def test_a_shell_with_a_script_is_seen(argv: list[str]) -> None:
    assert in_shell(argv)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["bash"],
        ["bash", "start.sh", "-c"],
        ["bash", "-o", "-c"],
        ["python3", "-c", "x"],
        ["vllm", "serve", "-c"],
        ["/models/bash", "x", "-c"],
        ["bashful", "-c", "x"],
    ],
)
def test_other_words_are_no_shell_with_a_script(argv: list[str]) -> None:
    assert not in_shell(argv)


@pytest.mark.parametrize(
    ("container", "is_left"),
    [
        (a(), True),
        (a(args=["qwen"]), True),
        (a(args=["--model", "bash"]), True),
        (a(command=["x"]), False),
        (a(args=["/bin/bash", "start.sh"]), False),
        (a(args=["python3.11", "-m", "dynamo.vllm"]), False),
    ],
)
def test_when_the_images_entry_point_is_what_runs(container: Manifest, is_left: bool) -> None:
    assert is_left_to_image(container) is is_left


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(["--nnodes", "2"], Flag("--nnodes", 0, 2, "2"), id="two words"),
        pytest.param(["--nnodes=2"], Flag("--nnodes", 0, 1, "2"), id="one word"),
        pytest.param(["--nnodes="], Flag("--nnodes", 0, 1, ""), id="empty value"),
        pytest.param(["-n", "2"], Flag("--nnodes", 0, 2, "2"), id="short"),
        pytest.param(["-n=2"], Flag("--nnodes", 0, 1, "2"), id="short, one word"),
        pytest.param(["-n2"], Flag("--nnodes", 0, 1, "2"), id="short, with its number"),
        pytest.param(["-tp", "8"], Flag("--tensor-parallel-size", 0, 2, "8"), id="short of two letters"),
        pytest.param(["--tensor_parallel_size", "8"], Flag("--tensor-parallel-size", 0, 2, "8"), id="underscores"),
        pytest.param(["--nnodes", "--headless"], Flag("--nnodes", 0, 1, None), id="a flag is no value"),
        pytest.param(["--nnodes", "-1"], Flag("--nnodes", 0, 2, "-1"), id="a negative number is one"),
        pytest.param(["--nnodes", "-x y"], Flag("--nnodes", 0, 2, "-x y"), id="so is a word with a space"),
        pytest.param(["--nnodes", ""], Flag("--nnodes", 0, 2, ""), id="and an empty one"),
        pytest.param(["--nnodes"], Flag("--nnodes", 0, 1, None), id="at the end"),
        pytest.param(["--headless", "qwen"], Flag("--headless", 0, 1), id="a switch takes nothing"),
        pytest.param(["--no-headless"], Flag("--headless", 0, 1, is_off=True), id="a switch taken back"),
    ],
)
def test_a_flag_is_read_as_argparse_does(argv: list[str], expected: Flag) -> None:
    assert flags(argv, OPTIONS).found[0] == expected


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["--nnodes-of", "2"], id="a longer name"),
        pytest.param(["--nn", "2"], id="an abbreviation"),
        pytest.param(["nnodes", "2"], id="a word"),
        pytest.param(["{--nnodes 2}"], id="inside of a word"),
        pytest.param(["--nnodes.x", "2"], id="a key of a JSON flag"),
        pytest.param(["--other=--nnodes"], id="in another one's value"),
        pytest.param(["-tp8"], id="argparse wants a space here"),
    ],
)
def test_what_is_no_flag_of_ours(argv: list[str]) -> None:
    assert flags(argv, OPTIONS).found == ()


def test_the_last_of_a_flag_counts() -> None:
    read = flags(["--nnodes", "2", "x", "-n", "$(N)", "--headless", "--no-headless"], OPTIONS)

    assert read.value("--nnodes") == "$(N)"
    assert read.number("--nnodes", 1) is None
    assert read.number("--tensor-parallel-size", 1) == 1
    assert read.has("--headless")
    assert not read.is_on("--headless")


def test_words_before_the_engines_own_are_others() -> None:
    assert flags(["numactl", "-n", "0", "vllm", "serve", "-n", "2"], OPTIONS, start=5).found == (
        Flag("--nnodes", 5, 7, "2"),
    )


@pytest.mark.parametrize(
    ("args", "port"),
    [
        (["--port", "9000"], 9000),
        (["--port=9001"], 9001),
        (["--port", "9000", "--port", "9002"], 9002),
        (["--port", "$(PORT)"], 8000),
        (["--port"], 8000),
        (["--port", "70000"], 8000),
        (["--port", "0"], 8000),
        ([], 8000),
    ],
)
def test_the_port_is_read_from_the_words(args: list[str], port: int) -> None:
    assert port_in(args, 8000) == port


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        (None, None),
        ([], None),
        ([{"containerPort": 1}, {"containerPort": 2}], 1),
        ([{"containerPort": 1}, {"containerPort": 2, "name": "http"}], 2),
    ],
)
def test_the_port_that_is_declared(ports: list[Manifest] | None, port: int | None) -> None:
    assert declared_port({"ports": ports}) == port


@pytest.mark.parametrize(
    ("container", "port"),
    [
        pytest.param({"args": ["--port", "1"], "ports": [{"containerPort": 2}]}, 1, id="its own words"),
        pytest.param({"args": ["qwen"], "ports": [{"containerPort": 2}]}, 8000, id="its own words say nothing"),
        pytest.param({"command": ["x", "--port", "1", "serve"]}, 8000, id="words before them say nothing of it"),
        pytest.param(
            {"command": ["sh", "-c", "x --port 1"], "ports": [{"containerPort": 2}]}, 2, id="in a shell: as declared"
        ),
        pytest.param({"command": ["sh", "-c", "x --port 1"]}, 8000, id="in a shell: the usual one"),
        pytest.param({"command": ["x"], "args": ["--port", "1"]}, 1, id="words of another program"),
    ],
)
def test_where_an_engine_listens(container: Manifest, port: int) -> None:
    assert port_of(program(container, after_serve), container, 8000) == port
