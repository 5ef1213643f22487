"""managedFields read without a schema."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.reconcile.ownership import held_outline, held_part, not_held, subtree

PORT = 'k:{"containerPort":8000,"protocol":"TCP"}'


@pytest.mark.parametrize(
    ("value", "fields", "missing"),
    [
        pytest.param({"a": 1}, {"f:a": {}}, [], id="held"),
        pytest.param({"a": 1, "b": 2}, {"f:a": {}}, [("b",)], id="one is not"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"f:a": {"f:b": {}}}, [("a", "c")], id="one below is not"),
        pytest.param({"a": {"b": 1}}, {"f:a": {}}, [], id="held as one"),
        pytest.param([{"name": "x", "v": 1}], {'k:{"name":"x"}': {"f:name": {}, "f:v": {}}}, [], id="item by key"),
        pytest.param([{"name": "y"}], {'k:{"name":"x"}': {"f:name": {}}}, [("y",)], id="item that is not there"),
        pytest.param([{"containerPort": 8000}], {PORT: {"f:containerPort": {}}}, [], id="key filled in by the server"),
        pytest.param([{"containerPort": 8001}], {PORT: {"f:containerPort": {}}}, [("0",)], id="another key"),
        pytest.param(["a", "b"], {'v:"a"': {}}, [("1",)], id="set"),
        pytest.param({"a": 1, "env": [], "labels": {}}, {"f:a": {}}, [], id="empty"),
        pytest.param({"a": 1, "off": False, "zero": 0}, {"f:a": {}}, [("off",), ("zero",)], id="false is not empty"),
    ],
)
def test_what_is_not_held_is_named(value: Any, fields: dict[str, Any], missing: list[tuple[str, ...]]) -> None:
    assert not_held({"here": value}, {"f:here": fields}) == [("here", *path) for path in missing]


def test_the_held_part_is_what_was_applied() -> None:
    live = {
        "dnsPolicy": "ClusterFirst",
        "containers": [
            {
                "name": "engine",
                "image": "a",
                "imagePullPolicy": "Always",
                "ports": [{"containerPort": 8000, "protocol": "TCP"}],
            },
            {"name": "injected", "image": "b"},
        ],
        "nodeSelector": {"gpu": "a100"},
    }
    fields: dict[str, Any] = {
        "f:containers": {
            'k:{"name":"engine"}': {
                ".": {}, "f:name": {}, "f:image": {},
                "f:ports": {".": {}, PORT: {".": {}, "f:containerPort": {}}},
            }
        },
        "f:nodeSelector": {},
    }  # fmt: skip

    assert held_part(live, fields) == {
        "containers": [{"name": "engine", "image": "a", "ports": [{"containerPort": 8000}]}],
        "nodeSelector": {"gpu": "a100"},
    }


def test_the_outline_leaves_out_what_the_server_may_have_filled_in() -> None:
    live = {
        "replicas": 2,
        "nodeSelector": {"gpu": "a100"},
        "parentRefs": [{"name": "gateway", "kind": "Gateway"}],
        "selector": {"matchLabels": {"a": "b"}},
        "env": [{"name": "A", "value": "1"}],
    }
    fields: dict[str, Any] = {f"f:{name}": {} for name in live if name != "env"}
    fields["f:env"] = {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}

    assert held_outline(live, fields) == {
        "replicas": 2,
        "nodeSelector": {"gpu": "a100"},
        "parentRefs": None,
        "selector": None,
        "env": [{"name": "A", "value": "1"}],
    }


def test_a_subtree_that_is_not_held_is_none() -> None:
    assert subtree({"f:spec": {"f:replicas": {}}}, "spec", "replicas") == {}
    assert subtree({"f:spec": {"f:replicas": {}}}, "spec", "template") is None
