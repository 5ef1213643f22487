"""A picker for tests: one address for every request, said in the picker's protocol and no faster than it may be.

gRPC by hand, over h2: frames of HTTP/2, five bytes before each message, and as much of protobuf as ext_proc needs. Like
the real one it reads the whole body of a request first, and passes on an answer as it comes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings

PIECE_BYTES = 62_000
SERVING = b"\x08\x01"

Fields = dict[int, list[bytes]]


@dataclass
class Picker:
    """What it answers, and what it was asked."""

    address: str = ""
    hangs: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request."""
    largest_message_bytes: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _connections: set[_Connection] = field(default_factory=set)

    async def start(self, *ports: int) -> None:
        loop = asyncio.get_running_loop()
        for port in ports:
            self._servers.append(await loop.create_server(lambda: _Connection(self), "127.0.0.1", port))

    async def stop(self) -> None:
        """As if it were killed."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.transport.abort()
        self._servers.clear()

    def hang(self) -> None:
        """Take connections and say nothing, at either port, like a process that is stopped."""
        self.hangs = True
        for connection in self._connections:
            connection.transport.pause_reading()

    def go_on(self) -> None:
        """Answer again, what came meanwhile too."""
        self.hangs = False
        for connection in self._connections:
            connection.transport.resume_reading()

    def answers(self, message: bytes, state: _Request) -> list[bytes]:
        """What is said to one message of ext_proc."""
        ((kind, (content, *_)),) = ((k, v) for k, v in decoded(message).items() if k in _KINDS)
        fields = decoded(content)
        match _KINDS[kind]:
            case "request headers":
                self.asked.append(_headers(fields))
                return [self._destination()] if _flag(fields, 3) else []
            case "request body":
                state.body += fields.get(1, [b""])[0]
                if not _flag(fields, 2):
                    return []
                pieces = [bytes(state.body[at : at + PIECE_BYTES]) for at in range(0, len(state.body), PIECE_BYTES)]
                last = len(pieces) - 1
                return [self._destination(), *(_piece(3, piece, at == last) for at, piece in enumerate(pieces))]
            case "response headers":
                return [encoded(2, encoded(1, b""))]
            case "response body":
                return [_piece(4, fields.get(1, [b""])[0], _flag(fields, 2))]
            case "request trailers":
                return [encoded(5, b"")]
            case _:
                return [encoded(6, b"")]

    def _destination(self) -> bytes:
        if not self.address:
            return encoded(1, encoded(1, b""))
        header = encoded(1, b"x-gateway-destination-endpoint") + encoded(3, self.address.encode())
        mutation = encoded(1, encoded(1, header))
        return encoded(1, encoded(1, encoded(2, mutation)))


_KINDS = {
    2: "request headers",
    3: "response headers",
    4: "request body",
    5: "response body",
    6: "request trailers",
    7: "response trailers",
}


@dataclass
class _Request:
    """One call of gRPC."""

    path: str
    received: bytearray = field(default_factory=bytearray)
    body: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    """To be sent, as the other side has room."""
    ended: bool = False


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, picker: Picker) -> None:
        self.picker = picker
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1_000_000})
        self.requests: dict[int, _Request] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.picker._connections.add(self)
        self.h2.initiate_connection()
        self._flush()
        if self.picker.hangs:
            transport.pause_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self.picker._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        events = self.h2.receive_data(data)
        given_up = {event.stream_id for event in events if isinstance(event, StreamReset)}
        for event in events:
            match event:
                case RequestReceived(stream_id=stream) | DataReceived(stream_id=stream) if stream in given_up:
                    pass
                case RequestReceived(stream_id=stream, headers=headers):
                    path = dict(headers)[b":path"].decode()
                    self.requests[stream] = _Request(path)
                    self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
                case DataReceived(stream_id=stream, data=content, flow_controlled_length=length):
                    self.h2.acknowledge_received_data(length, stream)
                    self._received(self.requests[stream], content)
                case StreamEnded(stream_id=stream) if stream in self.requests:
                    self.requests[stream].ended = True
                case StreamReset(stream_id=stream):
                    self.requests.pop(stream, None)
        for stream in tuple(self.requests):
            self._send(stream)
        self._flush()

    def _received(self, request: _Request, content: bytes) -> None:
        request.received += content
        while len(request.received) >= 5 and len(request.received) >= 5 + _length(request.received):
            end = 5 + _length(request.received)
            message = bytes(request.received[5:end])
            del request.received[:end]
            self.picker.largest_message_bytes = max(self.picker.largest_message_bytes, len(message))
            is_health = request.path.endswith("/Check")
            for answer in [SERVING] if is_health else self.picker.answers(message, request):
                request.waiting += b"\0" + len(answer).to_bytes(4, "big") + answer

    def _send(self, stream: int) -> None:
        request = self.requests[stream]
        while request.waiting:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                return
            self.h2.send_data(stream, bytes(request.waiting[:room]))
            del request.waiting[:room]
        if request.ended:
            self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            del self.requests[stream]

    def _flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


def _length(received: bytearray) -> int:
    return int.from_bytes(received[1:5], "big")


def _headers(fields: Fields) -> dict[str, str]:
    found = {}
    for header in decoded(fields[1][0])[1]:
        content = decoded(header)
        found[content[1][0].decode()] = content.get(3, content.get(2, [b""]))[0].decode()
    return found


def _flag(fields: Fields, number: int) -> bool:
    return fields.get(number, [b"\0"])[0] != b"\0"


def _piece(kind: int, content: bytes, end: bool) -> bytes:
    """A part of a body, in full-duplex mode."""
    streamed = encoded(1, content) + (b"\x10\x01" if end else b"")
    return encoded(kind, encoded(1, encoded(3, encoded(3, streamed))))


# --- protobuf -----------------------------------------------------------------------------------------------------


def encoded(number: int, content: bytes) -> bytes:
    """A field that holds bytes, text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def decoded(message: bytes) -> Fields:
    """The fields of `message`; a number is its varint."""
    found: Fields = defaultdict(list)
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        start = at
        size, at = _read_varint(message, at)
        if tag & 7 == 0:
            found[tag >> 3].append(message[start:at])
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            found[tag >> 3].append(message[at : at + size])
            at += size
    return dict(found)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
