"""A server's certificate and key, in files that somebody renews."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import structlog

from fusioninfer.kube.connection import Misconfigured

log = structlog.get_logger(__name__)

LOOK_SECONDS = 10.0
"""How often the files are looked at."""


class Certificate:
    """A TLS context whose new connections get what stands in the files. Raises Misconfigured if that is no pair."""

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        self._files = (certificate_file, key_file)
        try:
            self._stamp = self._stamped()
            self.context = self._loaded()
        except OSError as error:
            raise Misconfigured(f"certificate {certificate_file} with key {key_file}: {error}") from error

    async def follow(self) -> None:
        """Take renewed files as they come, for ever; of files that are no pair, the last that were one stay."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take the files if they are others than before."""
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return
            self._loaded()  # first into another: half of a pair would spoil the one in use
            self.context.load_cert_chain(*self._files)
        except OSError as error:
            log.warning("renewed certificate not taken", file=str(self._files[0]), error=str(error))
            return
        self._stamp = stamp
        log.info("certificate renewed", file=str(self._files[0]))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self._files)
        return context

    def _stamped(self) -> tuple[tuple[int, int, int], ...]:
        found = [os.stat(file) for file in self._files]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)
