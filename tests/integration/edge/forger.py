"""Sends forged keys cheaply enough that an edge, not the forger, is what a flood keeps busy.

gRPC's own client makes some 1,000 calls a second and core; these are frames of HTTP/2 (RFC 9113)
written by hand, many at a time. Of HPACK (RFC 7541) the plain forms suffice: nothing is indexed,
and servers are told that we remember nothing either, so every answer can be read by itself.
"""

import asyncio
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import cycle
from typing import Final


class _Kind(IntEnum):
    """Of a frame."""

    DATA = 0
    HEADERS = 1
    RESET = 3
    SETTINGS = 4
    PING = 6
    GO_AWAY = 7
    WINDOW_UPDATE = 8


_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEADER_TABLE_SIZE: Final = 0x1
_FRAME_HEAD_LENGTH: Final = 9
_WINDOW_BYTES: Final = 65_535
_EMPTY_MESSAGE: Final = bytes(5)
_STATUS: Final = re.compile(rb"grpc-status[\x01\x02](\d+)")
# A head begins with :status, which HPACK's table has; trailers with a name that it has not.
_NEW_NAME: Final = b"\x00"
_CALLS_PER_WRITE_MIN: Final = 20
_TICK_SECONDS: Final = 0.005
# What the edge allows.
_STREAMS_PER_CONNECTION_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to, and what is called there."""

    host: str
    port: int
    path: str = "/atelier.v1.BillingService/GetBalance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What came of it: answers by the number of their gRPC status, "none" where none came."""

    answers: Counter[str]
    # From the first call sent to the last answer.
    seconds: float


async def flood(
    target: Target,
    keys: Sequence[str],
    *,
    per_second: float,
    sources: Sequence[str],
    answer_seconds: float = 10.0,
    connected: Callable[[], None] = lambda: None,
) -> Flood:
    """Send a call with each key, over a connection from each of these addresses in turn."""
    doors = [await _connect(target, source) for source in sources]
    connected()
    start = time.monotonic()
    await _send_all(doors, [_header_block(target, key) for key in keys], per_second=per_second)
    deadline = time.monotonic() + answer_seconds
    while any(door.in_flight for door in doors) and time.monotonic() < deadline:
        await asyncio.sleep(_TICK_SECONDS)
    seconds = time.monotonic() - start
    answers = sum((door.answers for door in doors), Counter[str]())
    answers["none"] = len(keys) - answers.total()
    for door in doors:
        door.close()
    return Flood(answers=+answers, seconds=seconds)


async def _send_all(
    doors: Sequence["_Door"], blocks: Sequence[bytes], *, per_second: float
) -> None:
    start = time.monotonic()
    sent, turn = 0, cycle(doors)
    while sent < len(blocks) and any(door.is_open for door in doors):
        due = min(int((time.monotonic() - start) * per_second), len(blocks))
        # Many at a time and the next door for the next ones: a write costs more than a call in it.
        share = max(-(-(due - sent) // len(doors)), _CALLS_PER_WRITE_MIN)
        for _ in range(len(doors)):
            if sent == due:
                break
            door = next(turn)
            count = min(share, door.room, due - sent)
            if count > 0:
                door.send(blocks[sent : sent + count])
                sent += count
        await asyncio.sleep(_TICK_SECONDS)


async def _connect(target: Target, source: str) -> "_Door":
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, door = await asyncio.get_running_loop().create_connection(
        _Door, target.host, target.port, ssl=context, local_addr=(source, 0)
    )
    return door


class _Door(asyncio.Protocol):
    """One connection: writes calls, reads how they end."""

    def __init__(self) -> None:
        self.answers = Counter[str]()
        self.in_flight = 0
        self.is_open = True
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._stream_id = 1
        self._window = _WINDOW_BYTES

    @property
    def room(self) -> int:
        """How many calls may be sent now."""
        if not self.is_open:
            return 0
        by_window = self._window // len(_EMPTY_MESSAGE)
        return min(_STREAMS_PER_CONNECTION_MAX - self.in_flight, by_window)

    def send(self, blocks: Sequence[bytes]) -> None:
        frames: list[bytes] = []
        for block in blocks:
            frames.append(_frame(_Kind.HEADERS, _END_HEADERS, self._stream_id, block))
            frames.append(_frame(_Kind.DATA, _END_STREAM, self._stream_id, _EMPTY_MESSAGE))
            self._stream_id += 2
            self._window -= len(_EMPTY_MESSAGE)
            self.in_flight += 1
        self._write(b"".join(frames))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        nothing_remembered = _HEADER_TABLE_SIZE.to_bytes(2) + bytes(4)
        self._write(_PREFACE + _frame(_Kind.SETTINGS, 0, 0, nothing_remembered))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_open = False
        self.in_flight = 0

    def data_received(self, data: bytes) -> None:
        self._received += data
        position = 0
        while len(self._received) - position >= _FRAME_HEAD_LENGTH:
            start = position + _FRAME_HEAD_LENGTH
            end = start + int.from_bytes(self._received[position : position + 3])
            if end > len(self._received):
                break
            head = self._received[position:start]
            stream_id = int.from_bytes(head[5:9])
            self._read(head[3], head[4], stream_id, bytes(self._received[start:end]))
            position = end
        del self._received[:position]

    def _read(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        match kind:
            case _Kind.HEADERS if flags & _END_STREAM:
                self._ended(_read_answer(payload))
            case _Kind.RESET:
                self._ended("reset")
            case _Kind.SETTINGS if not flags & _ACK:
                self._write(_frame(_Kind.SETTINGS, _ACK, 0, b""))
            case _Kind.PING if not flags & _ACK:
                self._write(_frame(_Kind.PING, _ACK, 0, payload))
            case _Kind.GO_AWAY:
                self.is_open = False
            case _Kind.WINDOW_UPDATE if stream_id == 0:
                self._window += int.from_bytes(payload)
            case _:
                pass

    def _ended(self, answer: str) -> None:
        self.answers[answer] += 1
        self.in_flight -= 1

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)


def _read_answer(block: bytes) -> str:
    """Name an answer; strict clients read no status where the content is not said to be gRPC's."""
    status = _STATUS.search(block)
    is_head = not block.startswith(_NEW_NAME)
    if status is None or (is_head and b"application/grpc" not in block):
        return "not gRPC"
    return status[1].decode()


def _header_block(target: Target, key: str) -> bytes:
    """The request's head; the bytes before the values are entries of HPACK's static table."""
    return b"".join(
        (
            b"\x83\x87",  # :method POST, :scheme https
            b"\x01" + _text(target.host),  # :authority
            b"\x04" + _text(target.path),  # :path
            b"\x0f\x10" + _text("application/grpc"),  # content-type
            b"\x00" + _text("te") + _text("trailers"),
            b"\x0f\x08" + _text(f"Bearer {key}"),  # authorization
        )
    )


def _text(text: str) -> bytes:
    assert len(text) < 127, "longer texts need further bytes of length"
    return bytes([len(text)]) + text.encode()


def _frame(kind: _Kind, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4) + payload
