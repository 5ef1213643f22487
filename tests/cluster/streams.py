"""Streamed answers of simulated engines, as clients see them: which engine began each, and whether it came whole."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Self

POD_HEADER = "x-inference-pod"
"""In which the simulator says which pod it is, since harness.routed asks it to."""
END = b"data: [DONE]"


@dataclass(slots=True)
class Stream:
    """One answer."""

    began: float = field(default_factory=time.time)
    """When it was asked for."""
    status: int = 0
    pod: str = ""
    """Which engine answers; empty before one does."""
    is_whole: bool = False
    """All its parts have come, and the last says so."""
    trouble: str = ""
    ended: float = 0.0

    def __str__(self) -> str:
        took = f"asked for at {self.began:.2f}, ended after {self.ended - self.began:.2f} s"
        return f"{self.status} of {self.pod or 'no engine'}, {took}: {self.trouble}"


def read(connection: http.client.HTTPConnection, words: int, stream: Stream, model: str = "qwen") -> None:
    """Ask for so many words; fill in `stream` as they come. The connection is closed if they do not all come."""
    messages = [{"role": "user", "content": " ".join(str(number) for number in range(words))}]
    asked = json.dumps({"model": model, "messages": messages, "stream": True})
    try:
        connection.request("POST", "/v1/chat/completions", asked, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        stream.status, stream.pod = answer.status, answer.getheader(POD_HEADER, "")
        lines = [line.strip() for line in answer if line.strip()]
        parts = sum(line.startswith(b"data: {") for line in lines)
        stream.is_whole = answer.status == 200 and parts >= words and lines[-1] == END
        stream.trouble = "" if stream.is_whole else f"{parts} of {words} parts, then {b''.join(lines[-1:])[-200:]!r}"
    except (OSError, http.client.HTTPException) as error:
        stream.trouble = repr(error)
    if not stream.is_whole:
        connection.close()
    stream.ended = time.time()


class Streams:
    """So many clients beside the block: each asks for one stream after the other, over a connection that it keeps."""

    def __init__(self, where: str, clients: int, words: range) -> None:
        self.where, self.words, self.ended = where, words, list[Stream]()
        self._now: dict[int, Stream] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def latest(self) -> Stream | None:
        """Of those that an engine has begun and not ended."""
        running = [stream for stream in list(self._now.values()) if stream.pod and not stream.ended]
        return max(running, key=lambda stream: stream.began, default=None)

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection(self.where, timeout=30)
        while not self._stop.is_set():
            stream = self._now[number] = Stream()
            read(connection, chance.choice(self.words), stream)
            self.ended.append(stream)
            if not stream.is_whole:
                time.sleep(0.1)
        connection.close()
