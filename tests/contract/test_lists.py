"""Lists by pages, and by labels."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.kube import errors, requests
from fusioninfer.kube.requests import METADATA_ONLY, Manifest
from tests.contract.widgets import WIDGETS, Namespace, a_widget

ONE_METADATA = METADATA_ONLY.replace("PartialObjectMetadataList", "PartialObjectMetadata")


async def _page(world: Namespace, **asked: Any) -> Manifest:
    return await world.send(requests.list_page(WIDGETS, world.name, **asked))


async def test_pages_hold_every_object_once_in_the_order_of_names(world: Namespace) -> None:
    for name in ("e", "b", "d", "a", "c"):
        await world.apply(WIDGETS, a_widget(name))

    page = await _page(world, limit=2)
    pages = [page]
    while token := page["metadata"].get("continue", ""):
        page = await _page(world, limit=2, continue_token=token)
        pages.append(page)

    assert [[item["metadata"]["name"] for item in page["items"]] for page in pages] == [["a", "b"], ["c", "d"], ["e"]]


async def test_all_pages_are_of_one_version(world: Namespace) -> None:
    """What is made, changed or deleted between two pages is in none of them."""
    for name in ("b", "d", "f"):
        await world.apply(WIDGETS, a_widget(name))
    first = await _page(world, limit=1)
    live = await world.get(WIDGETS, "d")
    await world.delete(WIDGETS, live)
    await world.apply(WIDGETS, a_widget("f", spec={"replicas": 5}))
    await world.apply(WIDGETS, a_widget("g"))

    rest = await _page(world, limit=10, continue_token=first["metadata"]["continue"])

    assert [item["metadata"]["name"] for item in rest["items"]] == ["d", "f"]
    assert "replicas" not in rest["items"][1]["spec"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert not rest["metadata"].get("continue")


async def test_a_continue_token_that_is_none_is_refused(world: Namespace) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await _page(world, continue_token="nonsense")

    assert refusal.value.status.code == 400


async def test_a_list_has_its_own_version_which_is_no_less_than_that_of_any_object(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())

    page = await _page(world)

    assert page["kind"] == "WidgetList"
    assert int(page["metadata"]["resourceVersion"]) >= int(live["metadata"]["resourceVersion"])
    assert page["items"] == [live]


async def test_an_empty_list_has_a_version_to_watch_from(world: Namespace) -> None:
    page = await _page(world)

    assert page["items"] == []
    assert int(page["metadata"]["resourceVersion"]) > 1


async def test_all_namespaces_are_listed_at_once(world: Namespace) -> None:
    await world.apply(WIDGETS, a_widget(labels={"of": world.name}))

    page = await world.send(requests.list_page(WIDGETS, labels=f"of={world.name}"))

    assert [item["metadata"]["namespace"] for item in page["items"]] == [world.name]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param("", "abcd", id="everything"),
        pytest.param("x", "abc", id="has it"),
        pytest.param("!x", "d", id="lacks it"),
        pytest.param("x=1", "a", id="equals"),
        pytest.param("x==1", "a", id="equals twice"),
        pytest.param("x!=1", "bcd", id="differs, or lacks it"),
        pytest.param("x in (1,2)", "ab", id="among"),
        pytest.param("x notin (1, 2)", "cd", id="not among, or lacks it"),
        pytest.param("x,y=1", "bc", id="both"),
        pytest.param("x in (2,3),y,fusioninfer.io/role!=z", "bc", id="all of three"),
        pytest.param("fusioninfer.io/role=prefill", "c", id="a key with a prefix"),
        pytest.param("x=", "", id="equals nothing"),
    ],
)
async def test_labels_select(world: Namespace, labels: str, names: str) -> None:
    await world.apply(WIDGETS, a_widget("a", labels={"x": "1"}))
    await world.apply(WIDGETS, a_widget("b", labels={"x": "2", "y": "1"}))
    await world.apply(WIDGETS, a_widget("c", labels={"x": "3", "y": "1", "fusioninfer.io/role": "prefill"}))
    await world.apply(WIDGETS, a_widget("d"))

    assert "".join(await world.names(WIDGETS, labels)) == names


async def test_a_selector_that_is_none_is_refused(world: Namespace) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await world.names(WIDGETS, "x=(")

    assert refusal.value.status.code == 400


async def test_pages_of_a_selection_are_full(world: Namespace) -> None:
    for number, name in enumerate("abcdef"):
        await world.apply(WIDGETS, a_widget(name, labels={"odd": str(number % 2)}))

    page = await _page(world, labels="odd=1", limit=2)

    assert [item["metadata"]["name"] for item in page["items"]] == ["b", "d"]


async def test_metadata_can_be_listed_alone(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget(labels={"l": "1"}))

    page = await _page(world, accept=METADATA_ONLY)

    (item,) = page["items"]
    assert page["kind"] == "PartialObjectMetadataList"
    assert set(item) - {"kind", "apiVersion"} == {"metadata"}
    assert item["metadata"] == live["metadata"]


async def test_metadata_of_one_object_can_be_read_alone(world: Namespace) -> None:
    live = await world.apply(WIDGETS, a_widget())

    alone = await world.send(requests.Request("GET", WIDGETS.path(world.name, "w"), accept=ONE_METADATA))

    assert set(alone) == {"kind", "apiVersion", "metadata"}
    assert alone["metadata"] == live["metadata"]


async def test_a_list_is_no_metadata_of_one_object(world: Namespace) -> None:
    with pytest.raises(errors.Refused) as refusal:
        await _page(world, accept=ONE_METADATA)

    assert refusal.value.status.code == 406
