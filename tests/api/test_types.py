"""What users write: what every type of it must keep to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fusioninfer.api import types
from tests.refusals import ACCEPTED, EVERYTHING, Accepted


def written_types() -> Iterator[type[types.Written]]:
    ahead = types.Written.__subclasses__()
    while ahead:
        yield (written := ahead.pop())
        ahead += written.__subclasses__()


@pytest.mark.parametrize("written", tuple(written_types()), ids=lambda written: written.__name__)
def test_what_users_write_is_frozen_and_has_no_unknown_fields(written: type[types.Written]) -> None:
    config = written.__struct_config__

    assert (config.frozen, config.forbid_unknown_fields) == (True, True)


@pytest.mark.parametrize("written", tuple(written_types()), ids=lambda written: written.__name__)
def test_no_field_has_a_default(written: type[types.Written]) -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(written) if not field.required}

    assert set(defaults.values()) <= {msgspec.UNSET}


@pytest.mark.parametrize("accepted", ACCEPTED, ids=lambda accepted: accepted.id)
def test_what_is_acceptable_fits_the_types_and_comes_back_unchanged(accepted: Accepted) -> None:
    spec = accepted.service["spec"]
    typed = msgspec.convert(spec, types.InferenceServiceSpec)

    assert msgspec.json.decode(msgspec.json.encode(typed)) == spec


def test_the_typed_example_names_every_field() -> None:
    """Beside those that stand in for fields that it has."""
    named = set(field_names(EVERYTHING["spec"]))

    assert all_field_names() - named == {"roleReplicas", "podReplicas", "endpointPickerConfig"}


def field_names(node: Any) -> Iterator[str]:
    match node:
        case dict():
            for key, value in node.items():
                yield key
                yield from field_names(value)
        case list():
            for value in node:
                yield from field_names(value)


def all_field_names() -> set[str]:
    return {field.name for written in written_types() for field in msgspec.structs.fields(written)}


def test_the_pods_of_a_role_can_be_counted_in_an_int32() -> None:
    assert types.MAX_REPLICAS * types.MAX_NODES < 2**31
