"""Whatever users write, the two sides of a service answer on one port, and a decoder's engine on another."""

from __future__ import annotations

import argparse
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.desired import Desired, EngineObjects
from tests import make

PROGRAMS = {"vllm": (["vllm", "serve"], "--model"), "sglang": (["sglang", "serve"], "--model-path")}

ports = st.one_of(st.integers(8198, 8203), st.sampled_from([1, 8000, 9000, 30000, 65535]))
port_words = st.one_of(
    ports.map(lambda port: ["--port", str(port)]),
    ports.map(lambda port: [f"--port={port}"]),
    st.sampled_from([["--port", "$(PORT)"], ["--port"]]),
)
other_words = st.sampled_from(
    [
        ["--max-model-len", "8"],
        ["--trust-remote-code"],
        ["a b"],
        ["$(X)"],
        ["-tp", "1"],
        ["--served-model-name", "x", "y"],
    ]
)
declared = st.lists(
    st.builds(lambda port, name: {"containerPort": port, **name}, ports, st.sampled_from([{}, {"name": "api"}])),
    max_size=3,
    unique_by=(lambda port: port["containerPort"], lambda port: port.get("name", port["containerPort"])),
)
probes = st.one_of(ports, st.just("api")).map(lambda port: {"httpGet": {"path": "/x", "port": port}})


@st.composite
def containers(draw: st.DrawFn) -> Manifest:
    """An engine whose port is said, or not, in many ways."""
    program, model = PROGRAMS[draw(st.sampled_from(sorted(PROGRAMS)))]
    words = [word for part in draw(st.lists(st.one_of(port_words, other_words), max_size=5)) for word in part]
    container = {"name": "engine", "image": "x", "command": program, "args": [model, "qwen", *words]}
    return {**container, "ports": draw(declared), "readinessProbe": draw(probes)}


def both_sides(container: Manifest, *more: Manifest) -> Desired:
    roles = [{**role, "template": make.a_template(container)} for role in make.prefill_and_decode()]
    try:
        return make.desired(*roles, *more)
    except InvalidSpec:
        assume(False)
        raise


def engine(objects: EngineObjects) -> Any:
    return objects.templates[0]["spec"]["containers"][0]


def listens(container: Manifest) -> int | None:
    """On which port a program with these args listens, as argparse has it; None: on its default one."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--port", nargs="?")
    value = parser.parse_known_args(container["args"])[0].port
    return int(value) if value and value.isdigit() else None


@settings(deadline=None)
@given(containers(), st.sampled_from([(), (make.a_router(),)]))
def test_both_sides_answer_on_one_port_and_a_decoders_engine_on_another(
    container: Manifest, more: tuple[Manifest, ...]
) -> None:
    prefill, decode = both_sides(container, *more).roles
    (sidecar,) = decode.templates[0]["spec"]["initContainers"]
    (serving,) = {port["containerPort"] for port in sidecar["ports"]}

    assert prefill.port == decode.port == serving
    assert f"--port={serving}" in sidecar["args"]
    assert listens(engine(prefill)) in (serving, None)
    behind = listens(engine(decode))
    assert behind not in (serving, None)
    assert f"--vllm-port={behind}" in sidecar["args"]
    assert behind in {port["containerPort"] for port in engine(decode)["ports"]}
    assert serving not in {port["containerPort"] for port in engine(decode)["ports"]}


@settings(deadline=None)
@given(containers())
def test_the_users_words_are_all_there_and_only_what_asked_the_serving_port_asks_another(container: Manifest) -> None:
    for objects in both_sides(container).roles:
        built = engine(objects)
        asked, written = built["readinessProbe"]["httpGet"], container["readinessProbe"]["httpGet"]

        assert built["args"][: len(container["args"])] == container["args"]
        assert built["command"] == container["command"]
        assert {**asked, "port": written["port"]} == written
        names = {port["containerPort"]: port.get("name") for port in container["ports"]}
        of_engine = written["port"] in (objects.port, names.get(objects.port))
        is_moved = objects.role.component_type == "decoder" and of_engine
        assert asked["port"] == (objects.launch.port if is_moved else written["port"])
