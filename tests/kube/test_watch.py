"""Pages and frames as they come over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusioninfer.kube import errors, watch
from fusioninfer.kube.watch import DEEPEST
from tests.kube.scripted import error_frame

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


def nested(levels: int, bottom: Any) -> Any:
    """`bottom` inside of so many lists and dicts, in turns."""
    for level in range(levels):
        bottom = [bottom] if level % 2 else {"x": bottom}
    return bottom


@given(value=JSON_VALUES, as_is=st.booleans())
def test_what_is_not_too_deep_stays_to_the_letter(value: Any, as_is: bool) -> None:
    text = json.dumps(value, ensure_ascii=as_is).encode()

    assert watch.shallow(text) == text


@given(value=JSON_VALUES, others=JSON_VALUES)
def test_only_what_is_too_deep_is_replaced(value: Any, others: Any) -> None:
    text = json.dumps({"before": others, "deep": nested(DEEPEST - 1, [value]), "after": others}).encode()

    assert json.loads(watch.shallow(text)) == {
        "before": others,
        "deep": nested(DEEPEST - 1, "nested too deep"),
        "after": others,
    }


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param(410, errors.Gone, id="too old"),
        pytest.param(403, errors.Forbidden, id="forbidden"),
        pytest.param(504, errors.Unavailable, id="a version of the future"),
        pytest.param(0, errors.Unavailable, id="without a code"),
    ],
)
def test_an_error_in_the_stream_is_the_same_as_one_in_the_status(code: int, kind: type[errors.ApiError]) -> None:
    with pytest.raises(kind, match="said in the stream"):
        watch.frame(error_frame(code))


def test_garbage_is_shown_by_its_beginning() -> None:
    with pytest.raises(watch.Garbled, match="<html>"):
        watch.page(b"<html>" + b"x" * 10_000)
