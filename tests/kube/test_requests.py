"""Requests as values."""

from __future__ import annotations

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from fusioninfer.kube import requests
from fusioninfer.kube.requests import Resource

SETS = Resource("apps", "v1", "StatefulSet", "statefulsets")
PODS = Resource("", "v1", "Pod", "pods")
NODES = Resource("", "v1", "Node", "nodes", namespaced=False)


def test_paths_are_those_of_the_api_server() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert SETS.path("llm", "chat", "scale") == "/apis/apps/v1/namespaces/llm/statefulsets/chat/scale"
    assert NODES.path("ignored", "n") == "/api/v1/nodes/n"


def test_an_apply_is_a_patch_that_takes_fields_over() -> None:
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "chat", "namespace": "llm", "uid": "u"},
    }

    request = requests.apply(SETS, manifest, manager="me")

    assert (request.method, request.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert request.query == {"fieldManager": "me", "force": "true"}
    assert json.loads(request.body) == manifest


def test_a_question_is_posted_and_has_no_name() -> None:
    request = requests.question(NODES, {"token": "t"})

    assert (request.method, request.path, request.content_type) == ("POST", "/api/v1/nodes", "application/json")
    assert json.loads(request.body) == {"apiVersion": "v1", "kind": "Node", "spec": {"token": "t"}}


def test_a_delete_names_the_object_that_is_meant() -> None:
    body = json.loads(requests.delete(SETS, "llm", "chat", uid="u").body)

    assert body["preconditions"] == {"uid": "u"}
    assert body["propagationPolicy"] == "Background"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_body_means_the_same_as_json_and_as_yaml(text: str) -> None:
    body = requests.as_yaml(json.dumps(text, ensure_ascii=False).encode())

    assert json.loads(body) == text
    assert yaml.safe_load(body) == text
