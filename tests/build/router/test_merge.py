"""A user's partial template over ours: what wins, what stays, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.router.merge import merged, merged_template

PATH = "spec.roles[1].template"
OURS: Manifest = {
    "metadata": {"labels": {"ours": "a"}},
    "spec": {
        "serviceAccountName": "picker",
        "initContainers": [{"name": "epp", "image": "epp:1", "args": ["--a"], "env": [{"name": "POD", "value": "x"}]}],
        "containers": [{"name": "envoy", "image": "envoy:1", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
    },
}


def over(**spec: Any) -> Manifest:
    return merged_template(OURS, {"spec": spec}, PATH)


def words(template: Manifest) -> dict[str, list[str]]:
    return {kind: [one["name"] for one in template["spec"][kind]] for kind in ("initContainers", "containers")}


@pytest.mark.parametrize("written", [{}, {"spec": {}}, {"spec": None}, {"metadata": None}])
def test_nothing_written_changes_nothing(written: Manifest) -> None:
    assert merged_template(OURS, written, PATH) == OURS


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize("name", ["epp", "envoy"])
def test_a_container_of_ours_is_found_by_its_name_wherever_it_is_written(name: str, kind: str) -> None:
    template = over(**{kind: [{"name": name, "image": "mine:2"}]})

    assert words(template) == words(OURS)
    (changed,) = (one for one in [*template["spec"]["initContainers"], *template["spec"]["containers"]]
                  if one["name"] == name)  # fmt: skip
    (before,) = (one for one in [*OURS["spec"]["initContainers"], *OURS["spec"]["containers"]] if one["name"] == name)
    assert changed == {**before, "image": "mine:2"}


def test_what_is_not_written_stays() -> None:
    template = over(
        containers=[{"name": "envoy", "resources": {"requests": {"cpu": "4"}, "limits": {"memory": "2Gi"}}}]
    )

    (envoy,) = template["spec"]["containers"]
    assert envoy["resources"] == {"requests": {"cpu": "4", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert envoy["image"] == "envoy:1"


def test_words_are_replaced_as_a_whole() -> None:
    assert over(containers=[{"name": "epp", "args": ["--b"]}])["spec"]["initContainers"][0]["args"] == ["--b"]


def test_variables_are_added_by_name() -> None:
    variables = [{"name": "MORE", "value": "y"}, {"name": "POD", "value": "z"}]

    (epp,) = over(containers=[{"name": "epp", "env": variables}])["spec"]["initContainers"]

    assert epp["env"] == [{"name": "POD", "value": "z"}, {"name": "MORE", "value": "y"}]


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_a_container_of_the_users_own_stands_after_ours_where_it_was_written(kind: str) -> None:
    own = {"name": "logger", "image": "logger:1", "ports": [{"containerPort": 1}]}

    template = over(**{kind: [own]})

    assert template["spec"][kind] == [*OURS["spec"][kind], own]
    other = {"containers": "initContainers", "initContainers": "containers"}[kind]
    assert template["spec"][other] == OURS["spec"][other]


@pytest.mark.parametrize(("kind", "index"), [("containers", 1), ("initContainers", 0)])
def test_a_container_without_an_image_that_is_none_of_ours_is_refused(kind: str, index: int) -> None:
    good = [{"name": "logger", "image": "logger:1"}] * index

    with pytest.raises(InvalidSpec) as caught:
        over(**{kind: [*good, {"name": "eppp", "resources": {}}]})

    assert caught.value.field == f"{PATH}.spec.{kind}[{index}]"
    assert caught.value.problem == (
        "the router has no container 'eppp', only envoy and epp; a container of your own needs an image"
    )


def test_all_else_of_the_pod_is_the_users_where_it_is_written() -> None:
    template = over(nodeSelector={"a": "b"}, tolerations=[{"key": "x"}], priorityClassName="high")

    assert {**template["spec"], **OURS["spec"]} == template["spec"]
    assert template["spec"]["nodeSelector"] == {"a": "b"}
    assert template["spec"]["tolerations"] == [{"key": "x"}]
    assert template["spec"]["priorityClassName"] == "high"


def test_metadata_of_the_pod_is_added() -> None:
    template = merged_template(OURS, {"metadata": {"labels": {"team": "blue"}, "annotations": {"c": "d"}}}, PATH)

    assert template["metadata"] == {"labels": {"ours": "a", "team": "blue"}, "annotations": {"c": "d"}}


def test_neither_side_is_changed_by_the_merge() -> None:
    ours, written = copy.deepcopy(OURS), {"spec": {"containers": [{"name": "epp", "env": [{"name": "A"}]}]}}
    before = copy.deepcopy(written)

    merged_template(ours, written, PATH)

    assert (ours, written) == (OURS, before)


@pytest.mark.parametrize(
    ("ours", "written", "result"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="keys of both"),
        pytest.param({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}, id="key by key, all the way down"),
        pytest.param({"a": 1}, {"a": None}, {"a": 1}, id="null is nothing written"),
        pytest.param({"a": 1}, {"a": 0}, {"a": 0}, id="0 is"),
        pytest.param({"a": True}, {"a": False}, {"a": False}, id="false is"),
        pytest.param({"a": [1]}, {"a": []}, {"a": []}, id="an empty list is"),
        pytest.param(
            [{"name": "a", "x": 1}], [{"name": "b"}, {"name": "a", "x": 2}], [{"name": "a", "x": 2}, {"name": "b"}],
            id="items by name",
        ),
        pytest.param([{"name": "a"}], [{"port": 1}], [{"port": 1}], id="items without names replace all"),
    ],
)  # fmt: skip
def test_what_is_written_wins(ours: Any, written: Any, result: Any) -> None:
    assert merged(ours, written) == result
