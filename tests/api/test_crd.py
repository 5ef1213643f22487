"""The CRD without a cluster: what a structural schema demands, and what we promise beyond."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from fusioninfer.api import crd, types
from fusioninfer.api.schema import Schema, kubernetes_definitions, kubernetes_version, schema_of
from tests.refusals import GANGS
from tools import kubernetes_schema

KB = 1000
EMBEDDED = ("template", "workerTemplate")
FREE_FORM = ("httproute", "gateway")


class Node(NamedTuple):
    """One schema within another."""

    path: tuple[str, ...]
    schema: Schema

    @property
    def embedded(self) -> bool:
        """Whether it is within a pod template; the template itself is a field of ours."""
        return any(name in EMBEDDED for name in self.path[:-1])


def nodes(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[Node]:
    yield Node(path, schema)
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, (*path, name))
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], (*path, mark))


NODES = tuple(nodes(crd.service_schema()))
SPEC = tuple(node for node in NODES if node.path[:1] == ("spec",))


def at(*path: str) -> Schema:
    return next(node.schema for node in NODES if node.path == path)


ROLE = ("spec", "roles", "[]")
POD = (*ROLE, "template", "spec")


def wrong(found: Iterator[Node]) -> list[str]:
    return [".".join(node.path) for node in found]


# --- structural ---------------------------------------------------------------------------------------------------


def test_every_schema_has_a_type_or_says_why_not() -> None:
    excuses = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")

    assert not wrong(n for n in NODES if "type" not in n.schema and not any(n.schema.get(it) for it in excuses))


@pytest.mark.parametrize("keyword", ["$ref", "title", "allOf", "anyOf", "oneOf", "not", "x-fusioninfer-embed"])
def test_no_schema_has(keyword: str) -> None:
    assert not wrong(n for n in NODES if keyword in n.schema)


def test_unknown_fields_are_refused_by_being_unnamed() -> None:
    """A structural schema may not say additionalProperties: false."""
    assert not wrong(n for n in NODES if n.schema.get("additionalProperties") is False)


def test_nothing_but_route_and_gateway_is_free_form() -> None:
    kept = [n for n in NODES if "x-kubernetes-preserve-unknown-fields" in n.schema and n.schema.get("type") == "object"]

    assert [node.path for node in kept] == [(*ROLE, name) for name in FREE_FORM]


def test_keys_of_list_maps_are_required_scalars() -> None:
    maps = [n for n in NODES if n.schema.get("x-kubernetes-list-type") == "map"]
    keys = [(n, n.schema["items"], key) for n in maps for key in n.schema["x-kubernetes-list-map-keys"]]

    assert keys
    assert not wrong(n for n, items, key in keys if key not in items["required"])
    assert not wrong(n for n, items, key in keys if items["properties"][key]["type"] not in ("string", "integer"))


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        (("containers",), ["name"]),
        (("initContainers",), ["name"]),
        (("volumes",), ["name"]),
        (("containers", "[]", "env"), ["name"]),
        (("containers", "[]", "volumeMounts"), ["mountPath"]),
        (("topologySpreadConstraints",), ["topologyKey", "whenUnsatisfiable"]),
        pytest.param(("containers", "[]", "ports"), None, id="ports: protocol would need a default"),
        pytest.param(("imagePullSecrets",), None, id="imagePullSecrets: name would need a default"),
    ],
)
def test_lists_of_the_pod_are_maps_where_their_keys_need_no_default(
    field: tuple[str, ...], keys: list[str] | None
) -> None:
    schema = at(*POD, *field)

    assert schema.get("x-kubernetes-list-map-keys") == keys
    assert schema["x-kubernetes-list-type"] == ("map" if keys else "atomic")


# --- what we promise ----------------------------------------------------------------------------------------------


def test_nothing_has_a_default() -> None:
    assert not wrong(n for n in NODES if "default" in n.schema)


def test_every_field_of_ours_is_described() -> None:
    ours = [
        n for n in NODES if not n.embedded and n.path and n.path[0] != "metadata" and n.path[-1] not in ("[]", "{}")
    ]

    assert len(ours) > 60
    assert not wrong(n for n in ours if not n.schema.get("description", "").endswith("."))


def test_no_field_of_the_pod_is_described() -> None:
    assert not wrong(n for n in NODES if n.embedded and "description" in n.schema)


def test_a_template_may_leave_out_its_containers() -> None:
    """A router's is partial; a rule demands them of the other roles."""
    assert "required" not in at(*POD)


def test_a_template_has_only_metadata_that_makes_sense_in_it() -> None:
    for path in ((*ROLE, "template"), (*POD, "volumes", "[]", "ephemeral", "volumeClaimTemplate")):
        metadata = at(*path, "metadata")
        assert set(metadata["properties"]) == set(crd.TEMPLATE_METADATA)
        assert metadata["properties"]["creationTimestamp"]["nullable"] is True


def test_amounts_may_be_written_as_any_number() -> None:
    limits = at(*POD, "containers", "[]", "resources", "limits", "{}")

    assert "type" not in limits
    assert "x-kubernetes-int-or-string" not in limits


def test_ports_of_probes_may_be_named_or_numbered() -> None:
    port = at(*POD, "containers", "[]", "livenessProbe", "httpGet", "port")

    assert port == {"x-kubernetes-int-or-string": True}


def test_rules_stand_where_they_can_see_what_they_need() -> None:
    ruled = {node.path for node in NODES if "x-kubernetes-validations" in node.schema}

    assert ruled == {
        (),
        ("spec",),
        ("spec", "schedulingStrategy"),
        ROLE,
        (*ROLE, "rolloutStrategy", "rollingUpdate"),
        (*ROLE, "template"),
        (*ROLE, "multinode", "workerTemplate"),
    }


RULES = tuple((n, rule) for n in NODES for rule in n.schema.get("x-kubernetes-validations", ()))


def test_rules_blame_fields_that_there_are() -> None:
    blamed = {(*n.path, *rule["fieldPath"].strip(".").split(".")) for n, rule in RULES if "fieldPath" in rule}

    assert blamed == {("metadata", "name"), ("spec", "roles"), ("spec", "schedulingStrategy")}
    assert blamed <= {node.path for node in NODES}


@pytest.mark.parametrize(
    "says", sorted({it.says.partition("Invalid value: ")[2] for it in GANGS if it.says and "Invalid value" in it.says})
)
def test_words_that_are_expected_of_the_api_server_are_those_of_a_rule(says: str) -> None:
    assert any(says in rule["message"] for _, rule in RULES)


def test_rules_of_a_gang_know_every_gang_scheduler() -> None:
    rules = [rule for n, rule in RULES if n.path == ("spec", "schedulingStrategy") and "in [" in rule["rule"]]

    assert len(rules) == 2
    for rule in rules:
        assert f"self.schedulerName in {sorted(types.GANG_SCHEDULERS)}" in rule["rule"]
        assert all(name in rule["message"] for name in types.GANG_SCHEDULERS)


def test_the_whole_is_below_what_kubectl_apply_can_take() -> None:
    """It keeps what was applied in an annotation, of which an object has at most 256 KiB."""
    assert len(json.dumps(crd.custom_resource_definition())) < 200 * KB
    assert len(crd.yaml_text(crd.custom_resource_definition())) < 200 * KB


def test_yaml_says_the_same() -> None:
    assert yaml.safe_load(crd.yaml_text(crd.custom_resource_definition())) == crd.custom_resource_definition()


def test_yaml_needs_no_anchors_whoever_writes_it() -> None:
    """PyYAML writes an object that stands in two places as an anchor and an alias."""
    assert "&id" not in yaml.safe_dump(crd.custom_resource_definition())


def test_the_order_of_keys_is_always_the_same() -> None:
    twice = [msgspec.json.encode(crd.custom_resource_definition()) for _ in range(2)]

    assert twice[0] == twice[1]
    assert list(crd.custom_resource_definition()) == ["apiVersion", "kind", "metadata", "spec"]


def test_names() -> None:
    definition = crd.custom_resource_definition()

    assert definition["metadata"]["name"] == "inferenceservices.fusioninfer.io"
    assert definition["spec"]["names"]["shortNames"] == ["fi"]  # KServe owns isvc
    assert [v["name"] for v in definition["spec"]["versions"]] == [types.VERSION]


def test_messages_are_shown_on_demand() -> None:
    columns = {column["name"]: column.get("priority", 0) for column in crd.printer_columns()}

    assert columns == {"Ready": 0, "Reason": 0, "URL": 0, "Age": 0, "Message": 1}


# --- Kubernetes' own schemas --------------------------------------------------------------------------------------


def pinned_version() -> str:
    """What testbed/go/k8s/go.mod requires."""
    required = (kubernetes_schema.PINNED_BY / "go.mod").read_text().partition("k8s.io/kubernetes v")[2]
    return f"v{required.split()[0]}"


def module_is_here() -> bool:
    go = shutil.which("go")
    cached = go and subprocess.run([go, "env", "GOMODCACHE"], capture_output=True, text=True).stdout.strip()
    return bool(cached) and os.path.isdir(f"{cached}/k8s.io/kubernetes@{pinned_version()}")


def test_schemas_are_those_of_the_pinned_kubernetes() -> None:
    assert kubernetes_version() == pinned_version()


@pytest.mark.skipif(not module_is_here(), reason="k8s.io/kubernetes is not in Go's module cache")
def test_schemas_are_fresh() -> None:
    assert kubernetes_schema.WRITTEN_TO.read_text() == kubernetes_schema.from_module()


def test_definitions_are_complete_and_needed() -> None:
    definitions = kubernetes_definitions()
    refers = {
        name: {ref.rpartition("/")[2] for ref in kubernetes_schema.references(definitions[name])}
        for name in definitions
    }

    assert set(kubernetes_schema.KINDS) <= definitions.keys()
    assert set().union(*refers.values(), kubernetes_schema.KINDS) == definitions.keys()


def test_definitions_keep_what_server_side_apply_needs() -> None:
    ports = schema_of("Service")["properties"]["spec"]["properties"]["ports"]

    assert ports["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    assert ports["items"]["properties"]["protocol"]["default"] == "TCP"


@pytest.mark.parametrize("kind", kubernetes_schema.KINDS)
def test_inlined_schemas_refer_to_nothing_and_are_the_callers_own(kind: str) -> None:
    schema = schema_of(kind)

    assert not list(kubernetes_schema.references(schema))
    schema["properties"].clear()
    assert schema_of(kind)["properties"]


def test_a_short_name_of_two_definitions_is_refused() -> None:
    schemas: dict[str, Any] = {f"io.k8s.api.core.v1.{kind}": {"type": "object"} for kind in kubernetes_schema.KINDS}
    schemas["io.k8s.api.apps.v1.Pod"] = {"type": "object"}

    with pytest.raises(SystemExit, match="Pod"):
        kubernetes_schema.document(schemas, "v1")
