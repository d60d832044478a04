import asyncio

import pytest

from services.gateway.errors import CallRefusedError
from services.gateway.key_lookups import KeyLookups, LookupLimits
from tenants.api_keys import new_key
from tenants.ids import KeyId
from tests.unit.services.gateway.test_authentication import NOW, PEPPER, Clock, Directory, facts_of

# As many as may come at once of the limit below.
BURST = 10
FEW = LookupLimits(cache_seconds=0.5, strangers_per_minute_max=60, keys_max=5)


def forged(number: int) -> KeyId:
    return KeyId(f"forged{number:06}")


async def refused_count(lookups: KeyLookups, ids: range) -> int:
    answers = await asyncio.gather(
        *(lookups.find(forged(number)) for number in ids), return_exceptions=True
    )
    assert all(answer is None or isinstance(answer, CallRefusedError) for answer in answers)
    return sum(isinstance(answer, CallRefusedError) for answer in answers)


async def test_a_flood_of_forged_ids_asks_the_directory_a_bounded_number_of_times() -> None:
    directory = Directory()
    lookups = KeyLookups(directory, FEW)

    refused = sum([await refused_count(lookups, range(n, n + 50)) for n in range(0, 5000, 50)])

    # A slow machine earns one more for each second that it takes.
    assert BURST <= len(directory.questions) <= 100
    assert refused == 5000 - len(directory.questions)


async def test_what_is_remembered_of_a_flood_is_bounded() -> None:
    lookups = KeyLookups(Directory(), LookupLimits(cache_seconds=0.5, keys_max=5))

    await refused_count(lookups, range(900))

    assert lookups.remembered_count <= 5


async def test_few_strangers_are_looked_up_at_once() -> None:
    at_once: list[int] = []
    busy = 0

    class Counting(Directory):
        async def find(self, key_id: KeyId) -> None:
            nonlocal busy
            busy += 1
            at_once.append(busy)
            await asyncio.sleep(0)
            busy -= 1

    lookups = KeyLookups(Counting(), LookupLimits(cache_seconds=0.5, strangers_at_once_max=3))
    await refused_count(lookups, range(100))

    assert max(at_once) == 3


async def test_strangers_do_not_take_every_place_of_calls_in_flight() -> None:
    lookups = KeyLookups(Directory(), LookupLimits(cache_seconds=0.5, strangers_waiting_max=20))

    assert await refused_count(lookups, range(256)) == 236


async def test_a_known_key_is_looked_up_while_strangers_are_refused() -> None:
    key, clock = new_key(pepper=PEPPER), Clock()
    directory = Directory(facts_of(key))
    lookups = KeyLookups(directory, FEW, monotonic_seconds=clock)
    await lookups.find(key.key_id)
    assert await refused_count(lookups, range(5000)) > 0
    clock.seconds = 10.0

    found = await lookups.find(key.key_id)

    assert found is not None
    assert directory.questions.count(key.key_id) == 2


async def test_a_refused_stranger_is_told_when_to_come_again() -> None:
    lookups = KeyLookups(Directory(), FEW)
    await refused_count(lookups, range(5000))

    with pytest.raises(CallRefusedError) as refused:
        await lookups.find(forged(9999))

    delay = refused.value.refusal.retry_delay
    assert delay is not None
    assert delay.total_seconds() >= 1.0


async def test_an_id_that_did_not_exist_is_not_asked_for_again_for_a_while() -> None:
    directory, clock = Directory(), Clock()
    lookups = KeyLookups(directory, FEW, monotonic_seconds=clock)

    for seconds in (0.0, 1.0, 59.0, 60.0):
        clock.seconds = seconds
        assert await lookups.find(forged(1)) is None

    assert len(directory.questions) == 2


@pytest.mark.parametrize("of_tenant", [False, True])
async def test_news_of_a_key_is_believed_at_once(of_tenant: bool) -> None:
    key = new_key(pepper=PEPPER)
    directory = Directory(facts_of(key))
    lookups = KeyLookups(directory, FEW, monotonic_seconds=Clock())
    await lookups.find(key.key_id)
    directory.facts[key.key_id] = facts_of(key, revoke_time=NOW)

    before = await lookups.find(key.key_id)
    lookups.forget("tenants/acme" if of_tenant else key.key_id)
    after = await lookups.find(key.key_id)

    assert before is not None
    assert before.key.revoke_time is None
    assert after is not None
    assert after.key.revoke_time == NOW


async def test_news_of_others_changes_nothing() -> None:
    key = new_key(pepper=PEPPER)
    directory = Directory(facts_of(key))
    lookups = KeyLookups(directory, FEW, monotonic_seconds=Clock())
    await lookups.find(key.key_id)

    for subject in ("tenants/zeta", "AAAAAAAAAAAA"):
        lookups.forget(subject)
    await lookups.find(key.key_id)

    assert len(directory.questions) == 1


async def test_when_news_may_have_been_missed_everything_is_asked_anew() -> None:
    key = new_key(pepper=PEPPER)
    directory = Directory(facts_of(key))
    lookups = KeyLookups(directory, FEW, monotonic_seconds=Clock())
    await lookups.find(key.key_id)

    lookups.forget("")
    await lookups.find(key.key_id)

    assert len(directory.questions) == 2
