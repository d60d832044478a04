"""An issuer is asked seldom, whatever callers invent; its keys outlast its absence for a while."""

import asyncio

import pytest

from services.gateway.errors import CallRefusedError
from services.gateway.identity.errors import KeySetError
from services.gateway.identity.issuer_keys import IssuerKeys
from services.gateway.identity.signing_keys import SigningKeys
from tests.unit.services.gateway.identity.token_fixtures import ISSUER, issuers_keys

KNOWN = ("key-ES256", "ES256")
HOUR = 3600.0


class Provider:
    """Answers with keys, or with a failure."""

    def __init__(self) -> None:
        self.keys: SigningKeys = issuers_keys()
        self.is_down = False
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked_count = 0

    async def read(self) -> SigningKeys:
        self.asked_count += 1
        await self.answering.wait()
        if self.is_down:
            raise KeySetError("answered 503")
        return self.keys


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def keys_of(provider: Provider, clock: Clock) -> IssuerKeys:
    return IssuerKeys(ISSUER, provider.read, monotonic_seconds=clock)


async def refused(keys: IssuerKeys, name: tuple[str, str] = KNOWN) -> str:
    with pytest.raises(CallRefusedError) as error:
        await keys.find(*name)
    return error.value.refusal.code.name


async def test_a_flood_of_invented_key_ids_asks_the_issuer_once_in_ten_seconds() -> None:
    provider, clock = Provider(), Clock()
    keys = keys_of(provider, clock)

    for number in range(1_000):
        clock.seconds = number / 100
        assert await keys.find(f"invented{number}", "ES256") is None

    assert provider.asked_count == 1


async def test_a_new_key_is_found_by_its_first_token() -> None:
    provider, clock = Provider(), Clock()
    keys = keys_of(provider, clock)
    first = {name: key for name, key in issuers_keys().items() if name == KNOWN}
    provider.keys = first
    await keys.find(*KNOWN)
    provider.keys = issuers_keys()
    clock.seconds = 10.0

    found = await keys.find("key-RS256", "RS256")

    assert found == issuers_keys()["key-RS256", "RS256"]
    assert provider.asked_count == 2


async def test_a_key_is_found_only_under_its_own_algorithm() -> None:
    assert await keys_of(Provider(), Clock()).find("key-ES256", "RS256") is None


async def test_while_the_issuer_is_away_its_keys_go_on_opening_until_they_are_too_old() -> None:
    provider, clock = Provider(), Clock()
    keys = keys_of(provider, clock)
    await keys.find(*KNOWN)
    provider.is_down = True
    clock.seconds = 6 * HOUR - 1
    still = await keys.find(*KNOWN)
    clock.seconds = 6 * HOUR

    assert still is not None
    assert await refused(keys) == "UNAVAILABLE"


async def test_an_issuer_that_never_answered_is_unavailable_and_not_a_wrong_token() -> None:
    provider = Provider()
    provider.is_down = True
    keys = keys_of(provider, Clock())

    assert [await refused(keys), await refused(keys)] == ["UNAVAILABLE"] * 2
    assert provider.asked_count == 1
    assert keys.failure == "KeySetError: answered 503"


async def test_an_unknown_key_of_an_absent_issuer_may_be_a_new_one() -> None:
    provider, clock = Provider(), Clock()
    keys = keys_of(provider, clock)
    await keys.find(*KNOWN)
    provider.is_down = True
    clock.seconds = 10.0

    assert await refused(keys, ("new", "ES256")) == "UNAVAILABLE"
    assert await keys.find(*KNOWN) is not None


async def test_few_wait_for_a_slow_issuer_and_the_rest_are_told_to_come_again() -> None:
    provider = Provider()
    provider.answering.clear()
    keys = keys_of(provider, Clock())
    waiting = [asyncio.ensure_future(keys.find(*KNOWN)) for _ in range(16)]
    await asyncio.sleep(0)

    one_more = await refused(keys)
    provider.answering.set()
    found = await asyncio.gather(*waiting)

    assert one_more == "RESOURCE_EXHAUSTED"
    assert provider.asked_count == 1
    assert None not in found


async def test_who_goes_away_does_not_take_the_answer_from_the_others() -> None:
    provider = Provider()
    provider.answering.clear()
    keys = keys_of(provider, Clock())
    impatient, patient = (asyncio.ensure_future(keys.find(*KNOWN)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    provider.answering.set()

    assert await patient is not None


async def test_what_an_issuer_answers_never_ends_the_reading() -> None:
    class Odd(Provider):
        async def read(self) -> SigningKeys:
            self.asked_count += 1
            raise RuntimeError("nobody thought of that")

    provider = Odd()
    keys = keys_of(provider, Clock())
    reading = asyncio.ensure_future(keys.keep_reading())
    async with asyncio.timeout(30):
        while not keys.failure.startswith("RuntimeError"):
            await asyncio.sleep(0)
    alive = not reading.done()
    reading.cancel()

    assert alive
