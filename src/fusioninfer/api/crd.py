"""The CustomResourceDefinition, made of `types` and of Kubernetes' own PodTemplateSpec.

A structural schema, since nothing else may be stored: references inlined, `type` everywhere, unknown fields
refused by being unnamed. Descriptions stand on our own fields only and there is no default under `spec`
(docs: design, "Rules of the CRD").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from fusioninfer.api import types
from fusioninfer.api.schema import Schema, schema_of
from fusioninfer.api.service import Manifest

QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""Source: controller-tools pkg/crd/known_types.go, resource.Quantity."""

TEMPLATE_METADATA = ("annotations", "creationTimestamp", "finalizers", "labels", "name", "namespace")
"""Of ObjectMeta, what templates carry or what tools write into them; the rest is the API server's to set."""


def custom_resource_definition() -> Manifest:
    """InferenceService's definition, for `kubectl apply`; keys always in this order."""
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{types.PLURAL}.{types.GROUP}"},
        "spec": {
            "group": types.GROUP,
            "names": {
                "kind": types.KIND,
                "listKind": f"{types.KIND}List",
                "plural": types.PLURAL,
                "singular": types.KIND.lower(),
                "shortNames": ["fi"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": types.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": printer_columns(),
                    "schema": {"openAPIV3Schema": service_schema()},
                }
            ],
        },
    }
    # Copied: rules that stand in two places are one object so far, which YAML would show as anchors and aliases.
    return msgspec.convert(msgspec.json.decode(msgspec.json.encode(definition)), Manifest)


def printer_columns() -> list[Manifest]:
    """What `kubectl get fi` shows; Message with `-o wide`."""
    ready = '.status.conditions[?(@.type=="Ready")]'
    return [
        {"name": "Ready", "type": "string", "jsonPath": f"{ready}.status"},
        {"name": "Reason", "type": "string", "jsonPath": f"{ready}.reason"},
        {"name": "URL", "type": "string", "jsonPath": ".status.url"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Message", "type": "string", "jsonPath": f"{ready}.message", "priority": 1},
    ]


def service_schema() -> Schema:
    """The structural schema of InferenceService."""
    (_,), components = msgspec.json.schema_components([types.InferenceService], ref_template="{name}")
    schema = own(components[types.KIND], components)
    # The API server knows what metadata is; named for SERVICE_RULES, which blame the name and cost by its length.
    schema["properties"]["metadata"] = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}}
    return {**schema, **types.SERVICE_RULES}


# --- our own fields -----------------------------------------------------------------------------------------------


def own(schema: Schema, components: Schema) -> Schema:
    """One of our own schemas, as msgspec writes it, made structural."""
    schema = {**components.get(schema.get("$ref", ""), {}), **schema}
    if "x-fusioninfer-embed" in schema:
        return {"description": schema["description"], **pod_template()}
    if "enum" in schema:
        schema["type"] = "string"
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
    if schema.get("required") == []:
        del schema["required"]
    for key in ("$ref", "title", "anyOf"):  # anyOf: int | str, of which x-kubernetes-int-or-string says the same
        schema.pop(key, None)
    return with_inner(schema, lambda inner: own(inner, components))


def with_inner(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """`schema` with `change` made to the schemas directly in it."""
    changed = dict(schema)
    if "properties" in schema:
        changed["properties"] = {name: change(inner) for name, inner in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            changed[key] = change(schema[key])
    return changed


# --- the pod template ---------------------------------------------------------------------------------------------


def pod_template() -> Schema:
    """PodTemplateSpec, structural; containers may be absent, because a router's template is partial."""
    template = structural(schema_of("PodTemplateSpec"))
    pod = template["properties"]["spec"]
    del pod["required"]
    del pod["properties"]["ephemeralContainers"]  # Kubernetes refuses them in templates
    for kind in ("containers", "initContainers"):
        bound_containers(pod["properties"][kind])
    return {**template, **types.TEMPLATE_RULES}


def bound_containers(containers: Schema) -> None:
    """Bounds without which a template of any size is taken in, and no rule about it has a known cost."""
    containers["maxItems"] = types.MAX_CONTAINERS
    fields = containers["items"]["properties"]
    for field, most in types.MAX_WORDS.items():
        fields[field]["maxItems"] = most
    for word in (fields["command"]["items"], fields["args"]["items"], fields["env"]["items"]["properties"]["value"]):
        word["maxLength"] = types.MAX_WORD_BYTES


def structural(schema: Schema) -> Schema:
    """One of Kubernetes' own schemas as a CRD may hold it, without defaults."""
    match schema:
        case {"oneOf": [{"type": "string"}, {"type": "number"}]}:
            return quantity()
        case {"format": "int-or-string"}:
            return {"x-kubernetes-int-or-string": True}
        case {"properties": {"managedFields": _}}:
            return template_metadata(schema)
    kept = {key: value for key, value in schema.items() if key != "default"}
    if not has_keys(schema):
        kept["x-kubernetes-list-type"] = "atomic"
        del kept["x-kubernetes-list-map-keys"]
    return with_inner(kept, structural)


def quantity() -> Schema:
    """An amount such as `80Gi`, `2` or `0.5`.

    Not an int-or-string, which would refuse the 0.5 that Kubernetes accepts. No structural type takes all numbers
    and strings, so none is named, and the bounds keep out objects and lists (`nvidia.com: {gpu: 1}`).
    """
    return {"x-kubernetes-preserve-unknown-fields": True, "pattern": QUANTITY, "maxProperties": 0, "maxItems": 0}


def has_keys(schema: Schema) -> bool:
    """Whether a list map's keys are all required. A CRD demands that of a key without a default; no list map: True."""
    keys = schema.get("x-kubernetes-list-map-keys", ())
    return set(keys) <= set(schema.get("items", {}).get("required", ()))


def template_metadata(schema: Schema) -> Schema:
    """ObjectMeta as far as templates go. Tools that print Go structs write `creationTimestamp: null`."""
    kept = {name: structural(schema["properties"][name]) for name in TEMPLATE_METADATA}
    kept["creationTimestamp"]["nullable"] = True
    kept["annotations"]["maxProperties"] = types.MAX_ANNOTATIONS
    return {"type": "object", "properties": kept}


# --- as YAML ------------------------------------------------------------------------------------------------------

INDENTED_LEVELS = 15
"""Down to the fields of a role's template.spec."""


def yaml_text(definition: Manifest) -> str:
    """`definition` as YAML: indented as deep as our own fields go, the pods' fields on one line each.

    Indented all the way down it would be 370 KB, two thirds of them blanks.
    """
    return yaml.dump(flattened(definition, INDENTED_LEVELS), Dumper=Dumper, sort_keys=False, width=math.inf)


class OneLine(dict[str, Any]):
    """What YAML shows on one line."""


class Dumper(yaml.SafeDumper):
    """SafeDumper that knows OneLine."""


Dumper.add_representer(
    OneLine, lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)
)


def flattened(node: Any, levels: int) -> Any:
    """`node` with what lies more than `levels` deep in it on one line."""
    match node:
        case dict() if levels == 0:
            return OneLine(node)
        case dict():
            return {key: flattened(value, levels - 1) for key, value in node.items()}
        case list():
            return [flattened(value, levels - 1) for value in node]
    return node
