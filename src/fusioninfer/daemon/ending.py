"""How the process comes to its end: told by a signal, by the loss of the Lease, or by a part of it that broke."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)

TOLD = 0
"""The exit code after a signal."""
FAILED = 1
"""The exit code of an operator that could not start, or lost the Lease, or broke."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """The end of the process, awaited and brought about; the first reason counts. Made in the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()

    async def code(self) -> int:
        """The exit code, once there is a reason to end."""
        return await self._code

    def because(self, reason: str, code: int) -> None:
        """End with `code`, unless the end has come already."""
        if not self._code.done():
            log.info("ending", reason=reason, code=code)
            self._code.set_result(code)

    def if_any_fails(self, tasks: Iterable[asyncio.Task[object]]) -> None:
        """End when one of `tasks` fails."""
        for task in tasks:
            task.add_done_callback(self._on_done)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """End when told to by SIGTERM or SIGINT, and at once when told again."""
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                self._loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._code.done():
            log.warning("told again: ending at once", signal=number.name)
            os._exit(128 + number)
        self.because(number.name, TOLD)

    def _on_done(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a part of the operator broke", exc_info=error)
            self.because(repr(error), FAILED)
