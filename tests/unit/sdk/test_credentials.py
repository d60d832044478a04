"""Tokens are fetched before they end, once for all who ask; a stream outlives its first one."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

import atelier
from atelier.credentials import FetchedTokens, FixedKey
from atelier.errors import ConfigurationError, KeyInvalidError
from atelier.retries import RetryPolicy
from atelier.settings import resolve_login
from atelier.v1.job_service_pb2 import KeepAlive, WatchJobResponse
from tests.unit.sdk.small_server import JOB, Refusal, SmallJobService, finished_job

HASTY = RetryPolicy(first_delay_seconds=0.001, attempts_max=4)
REFUSED = Refusal(grpc.StatusCode.UNAUTHENTICATED, "KEY_INVALID")


def token(end_seconds: float | str, name: str = "") -> str:
    said = json.dumps({"exp": end_seconds, "jti": name}).encode()
    return f"head.{base64.urlsafe_b64encode(said).rstrip(b'=').decode()}.signature"


class Provider:
    """Gives one token after the other; the last one for ever."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = deque(tokens)
        self.asked_count = 0

    def __call__(self) -> str:
        self.asked_count += 1
        return self.tokens.popleft() if len(self.tokens) > 1 else self.tokens[0]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_token_is_used_until_half_a_minute_before_its_end() -> None:
    provider, clock = Provider(token(1_300, "a"), token(1_600, "b")), Clock()
    tokens = FetchedTokens(provider, now=clock)

    first = await tokens.bearer()
    clock.seconds = 1_269.0
    still = await tokens.bearer()
    clock.seconds = 1_270.0
    fresh = await tokens.bearer()

    assert (first, still, fresh) == (token(1_300, "a"), token(1_300, "a"), token(1_600, "b"))
    assert provider.asked_count == 2


@pytest.mark.parametrize("odd", ["no token", "a.b.c", token("soon"), "a.é.c"])
async def test_a_token_that_does_not_say_when_it_ends_is_fetched_each_minute(odd: str) -> None:
    provider, clock = Provider(odd), Clock()
    tokens = FetchedTokens(provider, now=clock)

    for seconds in (0.0, 59.0, 60.0, 61.0):
        clock.seconds = 1_000.0 + seconds
        await tokens.bearer()

    assert provider.asked_count == 2


async def test_a_token_that_is_over_when_it_comes_is_not_fetched_for_every_call() -> None:
    provider, clock = Provider(token(900)), Clock()
    tokens = FetchedTokens(provider, now=clock)

    for _ in range(10):
        await tokens.bearer()

    assert provider.asked_count == 1


async def test_many_who_ask_at_once_share_one_fetch_of_either_kind() -> None:
    asked: list[int] = []

    async def fetch() -> str:
        asked.append(1)
        await asyncio.sleep(0)
        return token(9_000)

    tokens = FetchedTokens(fetch, now=Clock())
    found = await asyncio.gather(*(tokens.bearer() for _ in range(20)))

    assert (len(asked), set(found)) == (1, {token(9_000)})


async def test_a_key_is_never_fetched_again() -> None:
    key = FixedKey("atl_live_…")
    key.opened("atl_live_…")

    assert not key.may_renew("atl_live_…")


@pytest.fixture
async def provider() -> Provider:
    return Provider("first", "second")


@pytest.fixture
async def client(address: str, provider: Provider) -> AsyncIterator[atelier.AsyncClient]:
    async with atelier.AsyncClient(address, credentials=provider, retry_policy=HASTY) as opened:
        yield opened


async def test_a_token_that_ended_is_replaced_and_the_call_made_again(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    await client.get_job("j1")
    service.refusals.append(REFUSED)

    await client.get_job("j1")

    assert service.authorizations == ["Bearer first", "Bearer first", "Bearer second"]


async def test_a_token_that_never_opened_is_wrong_and_said_to_be(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    service.refusals.extend([REFUSED] * 3)

    with pytest.raises(KeyInvalidError):
        await client.get_job("j1")

    assert service.authorizations == ["Bearer first"]


async def test_a_stream_outlives_the_token_that_it_began_with(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    await client.get_job("j1")
    service.refusals.append(REFUSED)
    service.watch_parts.append(
        [
            WatchJobResponse(resume_token="1", keep_alive=KeepAlive()),
            WatchJobResponse(resume_token="2", job=finished_job(1)),
        ]
    )

    news = [one async for one in client.watch_job(JOB)]

    assert news[-1].HasField("job")
    assert service.authorizations[-2:] == ["Bearer first", "Bearer second"]


def test_a_key_beside_credentials_is_refused_and_none_is_taken_from_elsewhere(
    tmp_path: Path,
) -> None:
    login = resolve_login(
        has_credentials=True,
        environment={"ATELIER_API_KEY": "of somebody else", "ATELIER_ADDRESS": "there:1"},
        login_file=tmp_path / "none",
    )

    assert (login.address, login.api_key) == ("there:1", "")
    with pytest.raises(ConfigurationError):
        resolve_login(api_key="key", has_credentials=True, login_file=tmp_path / "none")
