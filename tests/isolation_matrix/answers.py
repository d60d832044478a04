"""One call of the matrix and all that its caller learns from it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
from google.protobuf import json_format, message_factory, text_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import (  # pyright: ignore[reportMissingTypeStubs]
    error_details_pb2,
    status_pb2,
)

# Imported to be known to text_format, which then tells a status's details in words.
_DETAILS: Final = error_details_pb2.DESCRIPTOR
# Streams that go on are read so long; what comes later is the same kind of news.
_STREAM_SECONDS: Final = 0.5
_MESSAGES_MAX: Final = 8
_PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status code, and every word and trailer of it."""

    sent: str
    code: str
    text: str
    # Ids that the request named.
    blotted: tuple[str, ...]

    @property
    def told(self) -> str:
        """All of the answer but the names that the caller itself had sent."""
        text = f"{self.code} {self.text}"
        for name in sorted(self.blotted, key=len, reverse=True):
            text = text.replace(name, "…")
        return text


async def ask(
    channel: Any,
    method: MethodDescriptor,
    requests: Sequence[Mapping[str, Any]],
    *,
    blotted: tuple[str, ...],
) -> Answer:
    """Send a request, or a stream of them; read what comes until it ends or has told enough."""
    kind = message_factory.GetMessageClass(method.input_type)
    messages = [json_format.ParseDict(dict(request), kind()) for request in requests]
    sent = "\n".join(text_format.MessageToString(message) for message in messages)
    read = _read_stream if method.server_streaming else _read_one
    try:
        news = await read(_call(channel, method, messages))
    except grpc.aio.AioRpcError as error:
        return Answer(sent=sent, code=error.code().name, text=_refusal(error), blotted=blotted)
    text = "\n".join(text_format.MessageToString(_timeless(one), as_utf8=True) for one in news)
    return Answer(sent=sent, code="OK", text=text, blotted=blotted)


def _call(channel: Any, method: MethodDescriptor, messages: Sequence[Message]) -> Any:
    sent = "stream" if method.client_streaming else "unary"
    received = "stream" if method.server_streaming else "unary"
    call = getattr(channel, f"{sent}_{received}")(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(messages[0]).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    (request,) = [iter(messages)] if method.client_streaming else messages
    return call(request, timeout=_PATIENCE_SECONDS)


async def _read_one(call: Any) -> list[Message]:
    return [await call]


async def _read_stream(stream: Any) -> list[Message]:
    # The first news or the refusal is waited for; what follows only for a moment.
    messages = [first] if (first := await stream.read()) is not grpc.aio.EOF else []
    try:
        async with asyncio.timeout(_STREAM_SECONDS):
            while len(messages) < _MESSAGES_MAX:
                if (news := await stream.read()) is grpc.aio.EOF:
                    break
                messages.append(news)
    except TimeoutError:
        pass
    stream.cancel()
    return messages


def _timeless(message: Message) -> Message:
    """Tell of the end of a lease nothing: it is another with each answer."""
    if "lease_expire_time" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("lease_expire_time")
    return message


def _refusal(error: grpc.aio.AioRpcError) -> str:
    """Every trailer, the status in words; lengths and bytes would differ with the names sent."""
    lines = [f"message: {error.details()}"]
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)  # pyright: ignore[reportArgumentType] - bytes
            lines.append(text_format.MessageToString(status, as_utf8=True))
        else:
            lines.append(f"{key}: {value!r}")
    return "\n".join(lines)
