"""Makes vLLM and NIXL sleep where they would spin: the `sitecustomize` of the local vLLM, which Python imports first.

Both are made for machines with cores to spare. Here are two, for several engines and all of the cluster.

- NIXL has a thread that answers the other side, also while vLLM has nothing to do. It sleeps until something comes,
  but no longer than a delay, which NIXL's Python sets to 0: so it takes a whole core for each engine, also at rest.
  (Without the thread, `enable_prog_thread=False`, nothing arrives from another pod: it is the prefiller that has to
  send, and its vLLM sleeps.)
- vLLM's processes look for a message again and again for a second before they sleep, with sched_yield between two
  looks. Linux 6.18 takes that at its word: with two such processes on one core, the one that has its message waits
  until the other's second is over (seen: runnable for half a second, and run for 3 ms of it).

No argument and no variable changes either.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

DELAY = 10_000
"""Microseconds: what comes wakes NIXL's thread at once, so this is only for what it may have missed."""
PAUSE = 0.0005
"""Seconds between two looks of vLLM's. Not to look at all, and wait for the wake-up that comes with a message, would
not do: it may be lost, which vLLM notices after 5 s."""


def _nixl(module: Any) -> None:
    config: Any = module.nixlBind.nixlAgentConfig

    class Patient(config):  # type: ignore[misc]
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, DELAY if name == "pthrDelay" else value)

    module.nixlBind.nixlAgentConfig = Patient


def _vllm(module: Any) -> None:
    module.sched_yield = functools.partial(time.sleep, PAUSE)


CHANGES: dict[str, Callable[[Any], None]] = {
    "nixl_cu13._api": _nixl,
    "vllm.distributed.device_communicators.shm_broadcast": _vllm,
}


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        CHANGES[self.name](module)


class _Finder(MetaPathFinder):
    """Changes a module when it is imported: many processes never do, and for them this costs nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname in CHANGES else None
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin)
        return found


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, _Finder())
