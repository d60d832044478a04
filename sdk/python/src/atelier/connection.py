"""One channel to an installation, and the two ways to use it: a call with retries, a stream."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import grpc

from atelier.certificates import read_certificates
from atelier.credentials import Credentials, FixedKey
from atelier.errors import CallError, ErrorStatus, NotAuthenticatedError, UnavailableError
from atelier.retries import RetryPolicy
from atelier.settings import Login, parse_address
from atelier.statuses import error_from_rpc

if TYPE_CHECKING:
    from grpc.aio import Channel, Metadata, UnaryStreamMultiCallable, UnaryUnaryMultiCallable

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")
AnswerT_co = TypeVar("AnswerT_co", covariant=True)

CALL_SECONDS_MAX = 30.0
# Servers send something at least every 15 seconds; three times that is silence.
SILENCE_SECONDS_MAX = 45.0
# A page of 1,000 images with prompts of 10,000 characters is larger than gRPC's own 4 MiB.
_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
# A channel that lost its server does not even try for so long; gRPC's own two minutes would outlast
# our patience although the server is back.
_RECONNECT_MILLISECONDS_MAX = 2000


class Connection:
    """A channel, and the key or token that goes with each call. Make it in a running event loop."""

    def __init__(
        self,
        login: Login,
        *,
        credentials: Credentials | None = None,
        retry_policy: RetryPolicy | None = None,
        call_seconds_max: float = CALL_SECONDS_MAX,
        silence_seconds_max: float = SILENCE_SECONDS_MAX,
        root_certificates: bytes | None = None,
    ) -> None:
        self.retry_policy = retry_policy or RetryPolicy()
        self._call_seconds_max = call_seconds_max
        self._silence_seconds_max = silence_seconds_max
        self._credentials = credentials or FixedKey(login.api_key)
        self.channel = open_channel(login.address, root_certificates=root_certificates)

    async def close(self) -> None:
        await self.channel.close()

    async def call(
        self, method: "UnaryUnaryMultiCallable[RequestT, AnswerT]", request: RequestT
    ) -> AnswerT:
        """Make a call, again where that is safe and may help.

        Raises:
            CallError: refused, or nobody answered in spite of patience.
        """
        failed_attempts = 0
        while True:
            bearer = await self._credentials.bearer()
            try:
                answer = await method(
                    request, timeout=self._call_seconds_max, metadata=_metadata(bearer)
                )
                self._credentials.opened(bearer)
                return answer
            except grpc.aio.AioRpcError as rpc_error:
                error = error_from_rpc(rpc_error)
                if self._is_outlived(error, bearer):
                    continue
                failed_attempts += 1
                delay = self.retry_policy.delay_seconds(error, failed_attempts=failed_attempts)
                if delay is None:
                    raise error from None
            await asyncio.sleep(delay)

    def _is_outlived(self, error: CallError, bearer: str) -> bool:
        """Tell whether a refusal is of a token that ended, so that a fresh one may do."""
        return isinstance(error, NotAuthenticatedError) and self._credentials.may_renew(bearer)

    async def stream(
        self, method: "UnaryStreamMultiCallable[RequestT, AnswerT]", request: RequestT
    ) -> AsyncGenerator[AnswerT, None]:
        """Read a stream once, without retries; leaving it cancels it.

        Raises:
            CallError: refused or broken; UnavailableError when it fell silent.
        """
        bearer = await self._credentials.bearer()
        answers = method(request, metadata=_metadata(bearer))
        try:
            while True:
                async with asyncio.timeout(self._silence_seconds_max):
                    answer = await answers.read()
                if answer is grpc.aio.EOF:
                    return
                self._credentials.opened(bearer)
                yield cast("AnswerT", answer)
        except grpc.aio.AioRpcError as rpc_error:
            error = error_from_rpc(rpc_error)
            if self._is_outlived(error, bearer):
                raise stream_broken("the stream has outlived its token") from None
            raise error from None
        except TimeoutError:
            raise stream_broken("the stream fell silent") from None
        finally:
            answers.cancel()


def _metadata(bearer: str) -> "Metadata":
    metadata = grpc.aio.Metadata()
    if bearer:
        metadata.add("authorization", f"Bearer {bearer}")
    return metadata


class StreamOpener(Protocol[AnswerT_co]):
    """Opens a stream anew, from where the last one broke off."""

    def __call__(self) -> AsyncGenerator[AnswerT_co, None]: ...


def stream_broken(message: str) -> UnavailableError:
    """Word what gRPC does not count as an error, so that it is retried like one."""
    return UnavailableError(ErrorStatus(code="UNAVAILABLE", reason="", message=message))


async def resumed(
    open_stream: StreamOpener[AnswerT], *, retry_policy: RetryPolicy
) -> AsyncGenerator[AnswerT, None]:
    """Read a stream to its proper end, over as many connections as it takes.

    `open_stream` knows where to go on; patience starts afresh with each answer.
    """
    failed_attempts = 0
    while True:
        answers = open_stream()
        try:
            async for answer in answers:
                failed_attempts = 0
                yield answer
            return
        except CallError as error:
            failed_attempts += 1
            delay = retry_policy.delay_seconds(error, failed_attempts=failed_attempts)
            if delay is None:
                raise
        finally:
            await answers.aclose()
        await asyncio.sleep(delay)


def open_channel(address: str, *, root_certificates: bytes | None = None) -> "Channel":
    """Open a channel, with TLS where the address asks for it.

    Certificates that are not given come from the files that the environment names.
    """
    target = parse_address(address)
    options: Sequence[tuple[str, int]] = (
        ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MILLISECONDS_MAX),
    )
    if not target.tls:
        return grpc.aio.insecure_channel(target.host_and_port, options=options)
    certificates = read_certificates()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=root_certificates or certificates.root_certificates,
        private_key=certificates.client_key,
        certificate_chain=certificates.client_certificate,
    )
    return grpc.aio.secure_channel(target.host_and_port, credentials, options=options)
