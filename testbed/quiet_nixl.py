"""Makes NIXL sleep where it would spin: this is the `sitecustomize` of the local vLLM, which Python imports first.

NIXL has a thread that answers the other side, also while vLLM has nothing to do. It sleeps until something comes, but
no longer than a delay, which NIXL's Python sets to 0: so it takes a whole core for each engine, at rest too, of the two
that there are. No argument of vLLM and no variable changes that. (Without the thread, `enable_prog_thread=False`,
nothing arrives from another pod: it is the prefiller that has to send, and its vLLM sleeps.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

MODULE = "nixl_cu13._api"
DELAY = 10_000
"""Microseconds: what comes wakes the thread at once, so this is only for what it may have missed."""


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.nixlBind.nixlAgentConfig = _patient(module.nixlBind.nixlAgentConfig)


def _patient(config: Any) -> type:
    class Patient(config):  # type: ignore[misc]
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, DELAY if name == "pthrDelay" else value)

    return Patient


class _Finder(MetaPathFinder):
    """Changes the module when it is imported: most processes never do, and for them this costs nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname == MODULE else None
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin)
        return found


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, _Finder())
