"""What differs between what is there and what is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.cli.fields import Change, amount, changes


def found(wanted: Any, live: Any, held: Any = None) -> list[tuple[str, Any, Any]]:
    return [(change.path, change.before, change.after) for change in changes(wanted, live, held)]


def test_fields_that_the_server_adds_are_no_difference() -> None:
    assert found({"a": 1}, {"a": 1, "terminationMessagePath": "/dev/x"}) == []
    assert found({"a": [{"x": 1}]}, {"a": [{"x": 1, "y": 2}]}) == []


def test_what_is_empty_is_as_if_it_were_not_there() -> None:
    assert found({"a": {}, "b": [], "c": "", "d": None}, {}) == []


def test_a_field_that_is_wanted_otherwise() -> None:
    assert found({"a": {"b": 1}}, {"a": {"b": 2}}) == [("a.b", 2, 1)]
    assert found({"a": {"b": 1}}, {"a": {}}) == [("a.b", None, 1)]


def test_a_field_that_we_hold_and_do_not_want_any_more() -> None:
    assert found({"a": {}}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}) == [("a.b", 1, None)]


def test_what_the_server_fills_in_is_no_difference_though_it_is_held_with_the_rest() -> None:
    live = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}

    assert found({"fieldRef": {"fieldPath": "status.podIP"}}, live, live) == []
    assert found({"nodeSelector": {}}, {"nodeSelector": {"a": "b"}}, {"nodeSelector": {"a": "b"}}) != []


def test_items_are_told_apart_by_their_names() -> None:
    live = [{"name": "engine", "image": "a"}, {"name": "added-by-a-webhook", "image": "x"}]

    assert found([{"name": "engine", "image": "b"}], live) == [("[engine].image", "a", "b")]
    assert found([], live, [live[0]]) != []


def test_lists_of_words_are_compared_whole() -> None:
    assert found({"args": ["a", "b"]}, {"args": ["a", "c"]}) == [("args", ["a", "c"], ["a", "b"])]


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("1000m", "1", True),
        (0.5, "500m", True),
        ("1Gi", "1024Mi", True),
        ("1e3", "1k", True),
        ("1G", "1Gi", False),
        ("8", 8, True),
        ("v1", "v2", False),
        (True, "1", False),
    ],
)
def test_amounts_are_the_same_however_they_are_written(one: Any, other: Any, are_same: bool) -> None:
    assert (found({"a": one}, {"a": other}) == []) is are_same


def test_what_is_no_amount() -> None:
    values: list[Any] = ["", "x", None, True, []]

    assert [amount(value) for value in values] == [None] * 5


def test_a_change_is_a_value() -> None:
    assert list(changes(1, 2, None, "a")) == [Change("a", 2, 1)]
