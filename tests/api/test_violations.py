"""What the API server refuses by the schema, said offline."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api.crd import service_schema
from fusioninfer.api.violations import UnknownField, stored_part, violations
from tests import make
from tests.refusals import ACCEPTED, Accepted

SPEC = service_schema()["properties"]["spec"]


def found(spec: Any) -> list[str]:
    return [str(violation) for violation in violations(spec, SPEC, "spec")]


def of_a_role(**fields: Any) -> list[str]:
    return found({"roles": [make.a_role(**fields)]})


def test_a_service_as_it_should_be_has_none() -> None:
    assert of_a_role(podReplicas=1, multinode={"nodeCount": 1}) == []


@pytest.mark.parametrize("accepted", [pytest.param(accepted, id=accepted.id) for accepted in ACCEPTED])
def test_what_is_accepted_has_none(accepted: Accepted) -> None:
    assert found(accepted.service["spec"]) == []


def test_all_are_found_and_not_only_the_first() -> None:
    container = make.a_container(imagee="x", args="--model qwen", env=[{"name": "A"}, {"name": "A"}])

    assert of_a_role(replicas=-1, engine="V", template=make.a_template(container)) == [
        "spec.roles[0].replicas: must be at least 0",
        "spec.roles[0].template.spec.containers[0].args: must be a list, and is a text",
        "spec.roles[0].template.spec.containers[0].imagee: there is no such field; did you mean image?",
        "spec.roles[0].template.spec.containers[0].env[1].name: 'A' is there twice; remove one",
        "spec.roles[0].engine: must be of a-z, 0-9, '-' and '.', with a letter or a digit at both ends",
    ]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"roles": [make.a_role(replica=1)]}, "did you mean replicas?", id="beside it"),
        pytest.param({"roles": [make.a_role()], "replica": 1}, "did you mean roles.replicas?", id="further in"),
        pytest.param({"roles": [make.a_role(nodeCount=2)]}, "did you mean multinode.nodeCount?", id="in an object"),
        pytest.param(
            {"roles": [make.a_role(multinode={"nodeCount": 2, "replicas": 2})]},
            "it belongs one level further out",
            id="further out",
        ),
        pytest.param({"roles": [make.a_role()], "x": 1}, "is it misspelt, or indented wrongly?", id="nothing like it"),
    ],
)
def test_an_unknown_field_says_which_one_was_meant(spec: Any, words: str) -> None:
    (violation,) = violations(spec, SPEC, "spec")

    assert isinstance(violation, UnknownField)
    assert violation.problem == f"there is no such field; {words}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(True, "must be a whole number, and is true or false", id="true is no number"),
        pytest.param("2", "must be a whole number, and is a text", id="text"),
        pytest.param(1.5, "must be a whole number, and is a number", id="fraction"),
        pytest.param(100_001, "must be at most 100000", id="too many"),
    ],
)
def test_what_is_no_number_of_copies(value: Any, words: str) -> None:
    assert of_a_role(replicas=value) == [f"spec.roles[0].replicas: {words}"]


def test_a_text_that_yaml_reads_as_something_else_is_to_be_quoted() -> None:
    container = make.a_container(env=[{"name": "A", "value": 1}])

    (words,) = of_a_role(template=make.a_template(container))

    assert words.endswith("env[0].value: must be a text, and is a whole number; write it in quotes")


def test_a_whole_number_may_be_written_with_a_fraction_of_nothing() -> None:
    assert of_a_role(replicas=2.0) == []


def test_nulls_are_as_if_they_were_not_there() -> None:
    role = make.a_role(replicas=None, name=None)

    assert found({"roles": [role]}) == ["spec.roles[0].name: is missing"]
    assert "replicas" not in stored_part({"roles": [role]}, SPEC)["roles"][0]


def test_what_an_api_server_stores_has_no_unknown_fields_but_where_they_are_kept() -> None:
    router = make.a_router(httproute={"anything": {"at": None}}, strategyy="x")

    (stored,) = stored_part({"roles": [router], "x": 1}, SPEC)["roles"]

    assert stored == make.a_router(httproute={"anything": {"at": None}})
