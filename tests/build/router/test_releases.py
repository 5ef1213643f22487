"""What is said of each release of the picker, and that it is what the release's source says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fusioninfer.build.router.releases import DEFAULT, Release, decoded, releases
from fusioninfer.build.router.releases.shapes import Reference, reference
from testbed import programs

RELEASES = [pytest.param(release, id=name) for name, release in releases().items()]
SCHEDULER = "github.com/llm-d/llm-d-inference-scheduler"
FRAMEWORK = "sigs.k8s.io/gateway-api-inference-extension"
CACHE = "github.com/llm-d/llm-d-kv-cache"


def test_the_default_is_one_that_our_tests_run() -> None:
    assert releases()[DEFAULT].checked.how == "run"


def test_a_release_that_we_do_not_run_says_so() -> None:
    assert releases()["llm-d-router-0.10"].checked.how == "catalogue"


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_names_is_in_its_catalogue(release: Release) -> None:
    config, metrics = release.config, release.metrics
    gates = {plugin.gate for plugin in release.plugins.values()} | {metrics.gate}
    replaced = {plugin.deprecated for plugin in release.plugins.values()} - {None}

    assert {*config.adds.values(), *config.always, metrics.source, metrics.extractor} <= release.plugins.keys()
    assert replaced <= release.plugins.keys()
    assert gates - {None} <= config.gates.keys()
    assert {metrics.section, *(gate.section for gate in config.gates.values())} - {None} <= config.sections.keys()
    assert metrics.default in metrics.engines.values()


@pytest.mark.parametrize("release", RELEASES)
def test_what_parameters_refer_to_is_in_the_catalogue(release: Release) -> None:
    slots = {slot for plugin in release.plugins.values() for slot in plugin.slots}
    found = list(references(release))

    assert found
    assert {slot for one in found for slot in one.slots} <= slots
    assert {one.default for one in found if one.slots} - {None} <= release.plugins.keys()


def references(release: Release) -> Iterator[Reference]:
    shapes: list[Any] = [release.config.sections]
    for plugin in release.plugins.values():
        shapes += [plugin.parameters, plugin.older_parameters or {}]
    while shapes:
        match shapes.pop():
            case str(word):
                if found := reference(word):
                    yield found
            case [item]:
                shapes.append(item)
            case dict(fields):
                shapes += fields.values()


def test_the_release_of_0_7_is_told_a_pool_and_cannot_do_without() -> None:
    release = releases()["llm-d-inference-scheduler-0.7"]

    assert release.required_crds == ("inferencepools.inference.networking.k8s.io",)
    assert release.arguments(config="{a: 1}", namespace="ns", pool="qwen-router")[:3] == (
        "--pool-name=qwen-router",
        "--pool-namespace=ns",
        "--config-text={a: 1}",
    )
    with pytest.raises(ValueError, match="InferencePool"):
        release.arguments(config="", namespace="ns", selector={"a": "b"}, port=8000)


def test_the_release_of_0_10_needs_no_crd_if_it_is_told_labels() -> None:
    release = releases()["llm-d-router-0.10"]

    words = release.arguments(config="{}", namespace="ns", selector={"b": "2", "a": "1"}, port=8000)

    assert release.required_crds == ()
    assert {"--endpoint-selector=a=1,b=2", "--endpoint-target-ports=8000", "--config-text={}"} <= set(words)
    assert "--pool-name=p" in release.arguments(config="{}", namespace="ns", pool="p")


@pytest.mark.parametrize("release", RELEASES)
def test_what_it_reads_is_what_it_is_allowed_to_read(release: Release) -> None:
    allowed = {(group, name) for rule in release.rules for group in rule.api_groups for name in rule.resources}

    assert allowed == {(read.group, read.resource) for read in release.reads}
    assert {rule.verbs for rule in release.rules} == {("get", "list", "watch")}


@pytest.mark.parametrize("release", RELEASES)
def test_it_listens_where_its_flags_tell_it(release: Release) -> None:
    ports = release.ports

    assert {
        f"--grpc-port={ports.ext_proc}",
        f"--grpc-health-port={ports.health}",
        f"--metrics-port={ports.metrics}",
        "--metrics-endpoint-auth=false",
    } <= set(release.flags.always)
    assert release.flags.standalone == ("--secure-serving=false",)


A_FILE = Path(__file__).parents[3] / "src/fusioninfer/build/router/releases" / f"{DEFAULT}.yaml"


def test_a_mistake_in_a_file_is_told() -> None:
    text = A_FILE.read_text()

    with pytest.raises(ValueError, match="no such kind of value: integer"):
        decoded(text.replace("{threshold: int}", "{threshold: integer}"))
    with pytest.raises(msgspec.ValidationError, match="unknown field `parameter`"):
        decoded(text.replace("parameters: {threshold: int}", "parameter: {threshold: int}"))
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'filtre'"):
        decoded(text.replace("slots: [filter]", "slots: [filtre]", 1))


# --- against the sources that the picker is built from ---------------------------------------------------------------


@pytest.mark.cluster
def test_the_catalogue_of_0_7_is_what_the_picker_registers() -> None:
    scheduler, framework = (programs.module_folder("llmd", module) for module in (SCHEDULER, FRAMEWORK))
    own = registered(scheduler / "pkg/plugins/register.go", SCHEDULER, scheduler)
    taken_over = registered(framework / "cmd/epp/runner/runner.go", FRAMEWORK, framework)

    assert (len(own), len(taken_over)) == (22, 20)
    assert {"by-label", "disagg-profile-handler", "precise-prefix-cache-scorer", "tokenizer"} <= own
    assert {"queue-scorer", "prefix-cache-scorer", "max-score-picker", "k8s-notification-source"} <= taken_over
    assert own | taken_over == releases()[DEFAULT].plugins.keys()


@pytest.mark.cluster
def test_the_parameters_of_0_7_are_fields_of_its_source() -> None:
    folders = [programs.module_folder("llmd", module) for module in (SCHEDULER, FRAMEWORK, CACHE)]
    tags = set()
    for folder in folders:
        for file in folder.glob("pkg/**/*.go"):
            tags |= set(re.findall(r'json:"(\w+)', file.read_text()))
    names = {name for plugin in releases()[DEFAULT].plugins.values() for name in names_in(plugin.parameters)}

    assert {"blockSizeTokens", "podDiscoveryConfig", "primaryPort"} <= names
    assert names <= tags


@pytest.mark.cluster
def test_the_gates_of_0_7_are_those_of_its_source() -> None:
    folder = programs.module_folder("llmd", FRAMEWORK)
    runner = (folder / "cmd/epp/runner/runner.go").read_text()
    gates = set()
    for package, constant in re.findall(r"loader\.RegisterFeatureGate\((\w+)\.(\w+)\)", runner):
        gates.add(constant_in(folder / "pkg/epp" / package, constant))

    assert gates == releases()[DEFAULT].config.gates.keys()


@pytest.mark.cluster
def test_the_sidecar_of_0_7_takes_what_it_is_told() -> None:
    folder = programs.module_folder("llmd", SCHEDULER) / "pkg/sidecar/proxy"
    options, sidecar = (folder / "options.go").read_text(), releases()[DEFAULT].sidecar
    (supported,) = re.findall(r"supportedKVConnectors = map\[string\]struct\{\}\{([^}]*\}[^=]*)\n\t\}\n", options)
    protocols = {constant_in(folder, name) for name in re.findall(r"(KVConnector\w+):", supported)}

    words = sidecar.arguments(port=8000, engine_port=8200, protocol="nixlv2")
    flags = [word.partition("=")[0].removeprefix("--") for word in words]
    assert set(flags) <= set(re.findall(r'fs\.\w+Var\(&[\w.]+, "([\w-]+)"', options))
    assert words == ("--port=8000", "--vllm-port=8200", "--kv-connector=nixlv2", "--secure-proxy=false")
    assert set(sidecar.protocols) == protocols


def names_in(shape: object) -> Iterator[str]:
    match shape:
        case [item]:
            yield from names_in(item)
        case dict():
            for name, part in shape.items():
                yield from () if name == "*" else (name,)
                yield from names_in(part)


def registered(file: Path, module: str, folder: Path) -> set[str]:
    """The types that a Go file registers: `<alias>.Register(<package>.<Constant>, <package>.<Factory>)`."""
    source = file.read_text()
    packages = {}
    for alias, path in re.findall(r'^\s+(\w+ )?"([\w./-]+)"$', source, re.MULTILINE):
        packages[alias.strip() or path.rpartition("/")[2]] = path
    calls = re.findall(r"\b(\w+)\.Register\((\w+)\.(\w+), *\w+\.\w+\)", source)
    plugins = [call for call in calls if packages[call[0]].endswith("framework/interface/plugin")]
    assert len(plugins) == len(re.findall(r"^\s+(?:fwk)?plugin\.Register\(", source, re.MULTILINE))
    return {
        constant_in(folder / packages[package].removeprefix(f"{module}/"), constant) for _, package, constant in plugins
    }


def constant_in(package: Path, constant: str) -> str:
    """The string that `constant` of a Go package stands for."""
    for file in package.glob("*.go"):
        if found := re.search(
            rf'^\s*(?:const )?{constant}\s*(?:string)?\s*= "([^"]+)"', file.read_text(), re.MULTILINE
        ):
            return found[1]
    raise AssertionError(f"{package}: no constant {constant}")
