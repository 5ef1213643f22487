"""The admission policy: that no place and no check is forgotten, and no field misspelt. What it says: tests/cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fusioninfer.api import admission, schema, types
from fusioninfer.api.admission import OF_CONTAINERS, OF_PODS, OWN_CHECK, PLACES, Control
from testbed import programs
from tests.escapes import ESCAPES, HARMLESS

POLICY = admission.policy()["spec"]
VARIABLES = {each["name"]: each["expression"] for each in POLICY["variables"]}


def embedded(node: Any, components: Any, path: str = "") -> Iterator[str]:
    """Paths in a schema of ours at which pod templates stand."""
    if isinstance(node, list):
        for each in node:
            yield from embedded(each, components, path)
    if not isinstance(node, dict):
        return
    if "x-fusioninfer-embed" in node:
        yield path
    if "$ref" in node:
        yield from embedded(components[node["$ref"]], components, path)
    for name, inner in node.get("properties", {}).items():
        yield from embedded(inner, components, f"{path}.{name}")
    for key, step in (("items", "[]"), ("additionalProperties", "{}"), ("anyOf", ""), ("allOf", ""), ("oneOf", "")):
        yield from embedded(node.get(key), components, path + step)


def test_every_place_of_a_pod_template_is_looked_at() -> None:
    (_,), components = msgspec.json.schema_components([types.InferenceService], ref_template="{name}")

    assert set(embedded(components[types.KIND], components)) == {f".spec.roles[].{place}" for place in PLACES}
    for place in PLACES:
        assert f"r.?{place.replace('.', '.?')}.hasValue()" in VARIABLES["templates"]


def test_every_check_of_level_baseline_is_made() -> None:
    """Of the Kubernetes that is pinned here: a newer one may have more."""
    folder = programs.module_folder("k8s", "k8s.io/pod-security-admission") / "policy"
    sources = [file.read_text() for file in folder.glob("check_*.go") if not file.name.endswith("_test.go")]
    baseline = [source for source in sources if "api.LevelBaseline," in source]
    checks = {check_id(source) for source in baseline}

    assert len(checks) >= 12
    assert {control.check for control in (*OF_PODS, *OF_CONTAINERS)} == checks | {OWN_CHECK}


def check_id(source: str) -> str:
    written = re.search(r'\bID: +"(\w+)"', source) or re.search(r'CheckID = "(\w+)"', source)
    assert written
    return written[1]


@pytest.mark.parametrize("allowed", [admission.SYSCTLS, admission.CAPABILITIES], ids=["sysctls", "capabilities"])
def test_what_all_may_have_is_as_level_baseline_says(allowed: list[str]) -> None:
    name = "sysctls" if "kernel.shm_rmid_forced" in allowed else "capabilities_baseline"
    folder = programs.module_folder("k8s", "k8s.io/pod-security-admission") / "policy"
    source = (folder / f"check_{name}.go").read_text()
    listed = re.findall(r'^\t\t"([\w.]+)",$', source, re.MULTILINE)

    assert allowed
    assert set(allowed) == set(listed)


@pytest.mark.parametrize("control", OF_PODS, ids=lambda it: it.field)
def test_fields_of_pods_are_spelt_as_they_are(control: Control) -> None:
    assert_known(schema.schema_of("PodTemplateSpec"), control.field)


@pytest.mark.parametrize("control", OF_CONTAINERS, ids=lambda it: it.field)
def test_fields_of_containers_are_spelt_as_they_are(control: Control) -> None:
    assert_known(schema.schema_of("Container"), control.field)


def assert_known(node: Any, field: str) -> None:
    for step in re.sub(r"\[[^]]*\]", "", field).split("."):
        node = node.get("items", node)
        assert step in node["properties"], field
        node = node["properties"][step]


@pytest.mark.parametrize("control", OF_PODS + OF_CONTAINERS, ids=lambda it: f"{it.check} {it.field}")
def test_every_control_is_tried(control: Control) -> None:
    """By a case of the table that tests/cluster sends to a real API server."""
    assert [it.id for it in ESCAPES if it.check == control.check and it.says.endswith(control.field)]


def test_every_finding_counts() -> None:
    findings = {name for name in VARIABLES if name.startswith(("pod_", "container_"))}

    assert len(findings) == len(OF_PODS) + len(OF_CONTAINERS)
    assert set(re.findall(r"variables\.(\w+)", VARIABLES["found"])) == findings


def test_cases_have_names_of_their_own() -> None:
    names = [*(it.id for it in ESCAPES), *(it.id for it in HARMLESS)]

    assert len(set(names)) == len(names)
