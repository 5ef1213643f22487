"""Which engine a role runs, and why we think so."""

from __future__ import annotations

from typing import Any

import pytest
from fusioninfer_engine_sim import ENGINE as SIM

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build import engines
from fusioninfer.build.engines import Evidence
from tests import make

ENGINES = {**make.ENGINES, "sim": SIM}


def found(*containers: Manifest, **role: Any) -> engines.Found:
    return engines.found(make.a_service(make.a_role(template=make.a_template(*containers), **role)).roles[0], ENGINES)


def a(image: str = "x", name: str = "engine", **fields: Any) -> Manifest:
    return {"name": name, "image": image, **fields}


VLLM_SERVE = Evidence("the command is `vllm serve`")
SERVER_MODULE = "vllm.entrypoints.openai.api_server"


@pytest.mark.parametrize(
    ("container", "engine", "evidence"),
    [
        pytest.param(a(command=["vllm", "serve", "qwen"]), "vllm", VLLM_SERVE, id="vllm serve"),
        pytest.param(a(args=["vllm", "serve", "qwen"]), "vllm", VLLM_SERVE, id="vllm serve in args"),
        pytest.param(a(command=["/opt/bin/vllm"], args=["serve", "q"]), "vllm", VLLM_SERVE, id="over command and args"),
        pytest.param(a(command=["numactl", "-N", "0", "vllm", "serve"]), "vllm", VLLM_SERVE, id="behind numactl"),
        pytest.param(
            a(command=["python3", "-m", "vllm.entrypoints.cli.main", "serve"]), "vllm", VLLM_SERVE, id="vllm's cli"
        ),
        pytest.param(
            a(command=["python3", "-u", "-m", SERVER_MODULE]), "vllm", Evidence(f"the command runs {SERVER_MODULE}"),
            id="module of vllm",
        ),
        pytest.param(
            a(command=["python3", "-m", "vllm.entrypoints.launchers.api_server.entry"]), "vllm",
            Evidence("the command runs vllm.entrypoints.launchers.api_server.entry"), id="newer module of vllm",
        ),
        pytest.param(
            a(command=["sh", "-c", 'ulimit -n 9 && exec "$@"', "x", "vllm", "serve"]), "vllm", VLLM_SERVE,
            id="words behind a shell",
        ),
        pytest.param(
            a(command=["sglang", "serve"]), "sglang", Evidence("the command is `sglang serve`"), id="sglang serve"
        ),
        pytest.param(
            a(command=["python3", "-m", "sglang.launch_server"]), "sglang",
            Evidence("the command runs sglang.launch_server"), id="module of sglang",
        ),
        pytest.param(
            a(command=["trtllm-serve", "qwen"]), "trtllm", Evidence("the command is `trtllm-serve`"), id="trtllm-serve"
        ),
        pytest.param(
            a(command=["mpirun", "-n", "2", "trtllm-llmapi-launch", "/usr/bin/trtllm-serve", "qwen"]), "trtllm",
            Evidence("the command is `trtllm-serve`"), id="trtllm-serve under mpirun",
        ),
        pytest.param(
            a(command=["/app/llm-d-inference-sim"]), "sim", Evidence("the command is llm-d-inference-sim"),
            id="program of the simulator",
        ),
    ],
)  # fmt: skip
def test_an_engine_is_known_by_its_words(container: Manifest, engine: str, evidence: Evidence) -> None:
    assert (found(container).engine.name, found(container).evidence) == (engine, evidence)


@pytest.mark.parametrize(
    ("image", "engine", "called"),
    [
        ("vllm/vllm-openai:v0.32.0", "vllm", "vllm-openai"),
        ("registry:5000/vllm/vllm-openai@sha256:00", "vllm", "vllm-openai"),
        ("ghcr.io/llm-d/llm-d-cuda:v0.7.0", "vllm", "llm-d-cuda"),
        ("lmsysorg/sglang:v0.5.23-cu129", "sglang", "sglang"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.0", "trtllm", "tensorrt-llm/release"),
        ("mirror/trtllm", "trtllm", "mirror/trtllm"),
        ("ghcr.io/llm-d/llm-d-inference-sim:v0.10.2", "sim", "llm-d-inference-sim"),
    ],
)
def test_an_image_alone_is_a_guess_but_for_the_engines_own(image: str, engine: str, called: str) -> None:
    assert found(a(image)).engine.name == engine
    assert found(a(image)).evidence == Evidence(f"the image is called {called}", is_sure=called == "vllm-openai")


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(a(), id="nothing"),
        pytest.param(a("my/vllm-openai-proxy"), id="a name that only resembles"),
        pytest.param(a("lmsysorg/sglang-router"), id="a name that only begins so"),
        pytest.param(a("mirror/release"), id="anybody's release"),
        pytest.param(a("release"), id="a release of nobody"),
        pytest.param(a("vllm/vllm-openai", command=["/start"]), id="another command in the image"),
        pytest.param(a("vllm/vllm-openai", command=["bash", "-c", "vllm serve qwen"]), id="in a shell"),
        pytest.param(a("vllm/vllm-openai", args=["bash", "-c", "vllm serve qwen"]), id="in a shell in args"),
        pytest.param(a("lmsysorg/sglang", args=["bash", "-c", "sglang serve qwen"]), id="sglang in a shell"),
        pytest.param(a("mirror/trtllm", args=["bash", "-c", "trtllm-serve qwen"]), id="trtllm in a shell"),
        pytest.param(a("llm-d-inference-sim", args=["bash", "-c", "llm-d-inference-sim"]), id="sim in a shell"),
        pytest.param(a("mirror/vllm", args=["python3", "-m", "dynamo.vllm"]), id="another module in args"),
        pytest.param(a(command=["vllm", "bench", "serve"]), id="another program of vllm"),
        pytest.param(a(command=["python3", "-m", "vllm.entrypoints.cli.main", "bench"]), id="the same by module"),
        pytest.param(a(command=["python3", "-m", "sglang_router.launch_router"]), id="a router"),
        pytest.param(a(command=["trtllm-serve", "disaggregated", "-c", "x"]), id="another program of trtllm"),
        pytest.param(a(command=["serve", "vllm serve"]), id="inside of a word"),
    ],
)
def test_what_shows_no_engine_is_custom(container: Manifest) -> None:
    assert found(container).engine.name == "custom"
    assert found(container).evidence == Evidence("nothing in command, args or image names an engine", is_sure=False)


def test_what_the_user_says_wins() -> None:
    assert found(a("vllm/vllm-openai"), engine="custom").engine.name == "custom"
    assert found(a("vllm/vllm-openai"), engine="custom").evidence == Evidence("spec.engine says so")


def test_an_engine_that_is_not_installed_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidSpec) as refusal:
        found(a(), engine="nope")
    assert str(refusal.value) == (
        "spec.roles[0].engine: 'nope' is not installed; there are custom, sglang, sim, trtllm, vllm"
    )


def test_two_engines_in_one_pod_are_not_guessed_between() -> None:
    with pytest.raises(InvalidSpec) as refusal:
        found(a("vllm/vllm-openai", name="one"), a(command=["sglang", "serve"], name="two"))
    assert str(refusal.value) == (
        "spec.roles[0].engine: more than one engine is possible: "
        "vllm (one: the image is called vllm-openai); sglang (two: the command is `sglang serve`); name one"
    )


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


def test_a_template_for_workers_is_for_engine_custom_only() -> None:
    several = {"nodeCount": 2, "workerTemplate": make.a_template(a())}

    assert found(a(), multinode=several).engine.name == "custom"
    with pytest.raises(InvalidSpec) as refusal:
        found(a(command=["vllm", "serve", "qwen"]), multinode=several)
    assert str(refusal.value) == (
        "spec.roles[0].multinode.workerTemplate: belongs to engine custom; vllm derives the workers from template; "
        "remove it, or say engine: custom"
    )


def test_the_installed_engines_come_from_entry_points() -> None:
    assert set(engines.installed()) >= {"custom", "sglang", "sim", "trtllm", "vllm"}
    assert engines.installed()["sim"] is SIM
