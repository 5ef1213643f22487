"""Whole services of the parts that pages show."""

from __future__ import annotations

from typing import Any

from fusioninfer.api.types import API_VERSION, KIND

Manifest = dict[str, Any]

TEMPLATE: Manifest = {
    "spec": {"containers": [{"name": "engine", "image": "vllm/vllm-openai:v0.32.0", "args": ["Qwen/Qwen3-8B"]}]}
}


def is_service(document: Any) -> bool:
    return isinstance(document, dict) and document.get("kind") == KIND and document.get("apiVersion") == API_VERSION


def is_part(document: Any) -> bool:
    """A part of a service: its spec, roles of it, or one role."""
    if isinstance(document, list):
        return all(isinstance(role, dict) and "componentType" in role for role in document)
    return isinstance(document, dict) and not document.keys() - {"spec", "roles"}


def whole(part: Any) -> Manifest:
    """A service with what a page shows of it; what it leaves out is as ordinary as can be.

    Roles without a template get one, and a service without engines a worker; one whose gang names roles has those.
    """
    spec: Manifest = {"roles": part} if isinstance(part, list) else part.get("spec") or part
    roles = [_role(role) for role in spec.get("roles", ())]
    kinds = {role["componentType"] for role in roles}
    named = spec.get("schedulingStrategy", {}).get("gang", {}).get("minReplicas", {})
    if not kinds & {"worker", "prefiller", "decoder"}:
        sides = dict.fromkeys(named, "worker") or {"inference": "worker"}
        if len(named) == 2:
            sides = dict(zip(named, ("prefiller", "decoder"), strict=True))
        roles += [_role({"name": name, "componentType": side}) for name, side in sides.items()]
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "shown"}, "spec": {**spec, "roles": roles}}


def _role(role: Manifest) -> Manifest:
    return role if role["componentType"] == "router" or "template" in role else {**role, "template": TEMPLATE}
