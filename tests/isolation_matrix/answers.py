"""One call of the matrix and all that its caller learns from it."""

import asyncio
from collections.abc import Mapping
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

from tests.integration.services.gateway.gateway_fixtures import Client

# Imported to be known to text_format, which then tells a status's details in words.
_DETAILS: Final = error_details_pb2.DESCRIPTOR
# Streams that go on are read so long; what comes later is the same kind of news.
_STREAM_SECONDS: Final = 0.5
_MESSAGES_MAX: Final = 8


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
    client: Client,
    method: MethodDescriptor,
    request: Mapping[str, Any],
    *,
    blotted: tuple[str, ...],
) -> Answer:
    """Send a request and read what comes; a stream until it ends or has told enough."""
    message = message_factory.GetMessageClass(method.input_type)()
    json_format.ParseDict(dict(request), message)
    sent = text_format.MessageToString(message)
    path = f"/{method.containing_service.full_name}/{method.name}"
    read = _read_stream if method.server_streaming else _read_one
    try:
        messages = await read(client.channel, path, message, method)
    except grpc.aio.AioRpcError as error:
        return Answer(sent=sent, code=error.code().name, text=_refusal(error), blotted=blotted)
    text = "\n".join(text_format.MessageToString(message, as_utf8=True) for message in messages)
    return Answer(sent=sent, code="OK", text=text, blotted=blotted)


async def _read_one(
    channel: Any, path: str, message: Message, method: MethodDescriptor
) -> list[Message]:
    call = channel.unary_unary(
        path,
        request_serializer=type(message).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    return [await call(message)]


async def _read_stream(
    channel: Any, path: str, message: Message, method: MethodDescriptor
) -> list[Message]:
    stream = channel.unary_stream(
        path,
        request_serializer=type(message).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )(message)
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
