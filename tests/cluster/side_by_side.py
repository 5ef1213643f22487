"""Tests of one file that are begun together, since each waits most of its time: for nodes, controllers, back-offs.

Marked `side_by_side` are tests that assert about their own namespace alone. When the first of them is due, all of the
file that are to run begin, AT_ONCE at a time and in their order, each in a thread and a namespace of its own; when one
is due its end is waited for, and what it raised is raised. None can rely on another one's having run.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import pytest

from tests.cluster.harness import a_namespace
from tools.operator_process import Kubectl

MARK = "side_by_side"
AT_ONCE = 3
"""What two cores carry beside the cluster itself."""


class Begun:
    """Tests that run, or wait for a thread."""

    def __init__(self, items: Iterable[pytest.Function], kubectl: Kubectl, **fixtures: Any) -> None:
        self._kubectl, self._fixtures = kubectl, fixtures
        self._threads = ThreadPoolExecutor(AT_ONCE, "side by side")
        self._ends: dict[str, Future[None]] = {item.nodeid: self._threads.submit(self._run, item) for item in items}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def end(self, item: pytest.Function) -> None:
        """Returns when `item` has passed; raises what it raised."""
        self._ends[item.nodeid].result()

    def _run(self, item: pytest.Function) -> None:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        with a_namespace(self._kubectl, item.name.removeprefix("test_")) as namespace:
            given = {"namespace": namespace, **self._fixtures, **parameters}
            item.function(**{name: given[name] for name in inspect.signature(item.function).parameters})


def is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None


def expect_begun(items: Iterable[pytest.Item]) -> None:
    """Those that are marked ask for the fixture `begun`, and for no namespace: theirs is made when they begin."""
    for item in items:
        if isinstance(item, pytest.Function) and is_marked(item):
            names = [name for name in item.fixturenames if name not in ("namespace", "begun")]
            item.fixturenames[:] = [*names, "begun"]
