"""Which engine a role runs, and why we think so."""

from __future__ import annotations

from typing import Any

import pytest
from fusioninfer_engine_sim import ENGINE as SIM

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build import engines
from tests import make

ENGINES = {**make.ENGINES, "sim": SIM}


def found(*containers: Manifest, **role: Any) -> engines.Found:
    return engines.found(make.a_service(make.a_role(template=make.a_template(*containers), **role)).roles[0], ENGINES)


def a(image: str = "x", name: str = "engine", **fields: Any) -> Manifest:
    return {"name": name, "image": image, **fields}


@pytest.mark.parametrize(
    ("container", "engine"),
    [
        pytest.param(a("vllm/vllm-openai:v0.32.0"), "vllm", id="image of vllm"),
        pytest.param(a("registry:5000/vllm/vllm-openai@sha256:00"), "vllm", id="image by digest"),
        pytest.param(a(command=["vllm", "serve", "qwen"]), "vllm", id="vllm serve"),
        pytest.param(
            a(command=["/opt/bin/vllm"], args=["serve", "qwen"]), "vllm", id="vllm serve over command and args"
        ),
        pytest.param(a(command=["python3", "-m", "vllm.entrypoints.openai.api_server"]), "vllm", id="module of vllm"),
        pytest.param(a("vllm/vllm-openai", command=["bash", "-c", "vllm serve qwen"]), "custom", id="in a shell"),
        pytest.param(a("ghcr.io/llm-d/llm-d-inference-sim:v0.10.2"), "sim", id="image of the simulator"),
        pytest.param(a(command=["/app/llm-d-inference-sim"]), "sim", id="program of the simulator"),
        pytest.param(a("my/vllm-openai-proxy"), "custom", id="a name that only resembles"),
    ],
)
def test_an_engine_is_known_by_its_words(container: Manifest, engine: str) -> None:
    assert found(container).engine.name == engine


def test_what_the_user_says_wins() -> None:
    assert found(a("vllm/vllm-openai"), engine="custom").engine.name == "custom"


def test_the_evidence_is_told() -> None:
    assert found(a("vllm/vllm-openai")).evidence == "the image is called vllm-openai"
    assert found(a()).evidence == "nothing in command, args or image names an engine"


def test_an_engine_that_is_not_installed_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InvalidSpec, match=r"spec.roles\[0\].engine: 'nope' is not installed; there are custom, sim, vllm"
    ):
        found(a(), engine="nope")


def test_two_engines_in_one_pod_are_not_guessed_between() -> None:
    with pytest.raises(InvalidSpec, match="more than one engine is possible"):
        found(a("vllm/vllm-openai", name="one"), a("llm-d-inference-sim", name="two"))


@pytest.mark.parametrize(
    ("containers", "name"),
    [
        pytest.param([a(name="proxy"), a(name="engine")], "engine", id="the one called engine"),
        pytest.param([a(name="proxy"), a(name="server")], "proxy", id="else the first"),
        pytest.param([a(name="proxy"), a("vllm/vllm-openai", name="server")], "server", id="the one that runs it"),
    ],
)
def test_the_container_that_serves(containers: list[Manifest], name: str) -> None:
    assert found(*containers).container_name == name


@pytest.mark.parametrize(
    ("args", "port"),
    [
        (["--port", "9000"], 9000),
        (["--port=9001"], 9001),
        (["--port", "9000", "--port", "9002"], 9002),
        (["--port", "$(PORT)"], 8000),
        (["--port"], 8000),
        (["--port", "70000"], 8000),
        ([], 8000),
    ],
)
def test_the_port_is_read_from_the_words(args: list[str], port: int) -> None:
    assert engines.port_in(args, 8000) == port


def test_a_flag_is_the_same_with_either_dash() -> None:
    assert engines.flag_value(["--tensor_parallel_size=8"], "--tensor-parallel-size") == "8"


def test_the_installed_engines_come_from_entry_points() -> None:
    assert set(engines.installed()) >= {"custom", "vllm", "sim"}
    assert engines.installed()["sim"] is SIM
