import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.gateway.authentication import Authenticator
from services.gateway.callers import Caller
from services.gateway.client_certificates import CertificateIdentity
from services.gateway.errors import CallRefusedError
from services.gateway.key_lookups import KeyFacts, KeyLookups, LookupLimits, TenantFacts
from tenants.api_keys import NewKey, Role, StoredKey, new_key, new_secret
from tenants.ids import OPERATOR_TENANT_ID, KeyId, TenantId
from tenants.tenant_store import TenantState

PEPPER = b"p" * 32
NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Directory:
    """Knows some keys and counts who asks, as the database would be asked."""

    def __init__(self, *facts: KeyFacts) -> None:
        self.facts = {known.key.key_id: known for known in facts}
        self.questions: list[KeyId] = []

    async def find(self, key_id: KeyId) -> KeyFacts | None:
        self.questions.append(key_id)
        await asyncio.sleep(0)
        return self.facts.get(key_id)

    async def find_tenant(self, tenant_id: TenantId) -> TenantFacts | None:
        return TenantFacts(state=TenantState.ACTIVE) if tenant_id == "acme" else None


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def facts_of(
    key: NewKey,
    *,
    role: Role = Role.MEMBER,
    expire_time: datetime | None = None,
    revoke_time: datetime | None = None,
    state: TenantState = TenantState.ACTIVE,
    old: NewKey | None = None,
    old_expire_time: datetime | None = None,
) -> KeyFacts:
    operator = role is Role.OPERATOR
    return KeyFacts(
        key=StoredKey(
            tenant_id=OPERATOR_TENANT_ID if operator else TenantId("acme"),
            key_id=key.key_id,
            display_name="",
            role=role,
            project="spring",
            secret_hmac=key.secret_hmac,
            old_secret_hmac=old.secret_hmac if old else None,
            old_secret_expire_time=old_expire_time,
            create_time=NOW,
            expire_time=expire_time,
            revoke_time=revoke_time,
        ),
        tenant_state=None if operator else state,
    )


def authenticator(directory: Directory, clock: Clock | None = None) -> Authenticator:
    lookups = KeyLookups(
        directory, LookupLimits(cache_seconds=0.5), monotonic_seconds=clock or Clock()
    )
    return Authenticator(lookups, pepper=PEPPER, tenants=directory, now=lambda: NOW)


async def reason_of(directory: Directory, authorization: str | None) -> str:
    with pytest.raises(CallRefusedError) as refused:
        await authenticator(directory).authenticate(authorization)
    return refused.value.refusal.message


async def test_a_key_opens_with_its_tenant_role_and_project() -> None:
    key = new_key(pepper=PEPPER)

    caller = await authenticator(Directory(facts_of(key))).authenticate(f"Bearer {key.text}")

    assert (caller.tenant_id, caller.role, caller.project) == ("acme", Role.MEMBER, "spring")
    assert not caller.is_operator
    assert not caller.suspended


async def test_the_scheme_is_read_whatever_its_case() -> None:
    key = new_key(pepper=PEPPER)

    caller = await authenticator(Directory(facts_of(key))).authenticate(f"bearer {key.text}")

    assert caller.key_id == key.key_id


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer ", "Basic abc", "Bearer noise", "Bearer " + "x" * 10_000, "Bearer ätl_live"],
)
async def test_noise_is_refused_without_asking_the_database(authorization: str | None) -> None:
    directory = Directory()

    await reason_of(directory, authorization)

    assert directory.questions == []


async def test_a_wrong_secret_is_refused_like_an_unknown_key() -> None:
    key, other = new_key(pepper=PEPPER), new_key(pepper=b"x" * 32)
    impostor = facts_of(NewKey(key_id=other.key_id, text="", secret_hmac=key.secret_hmac))

    unknown = await reason_of(Directory(), f"Bearer {key.text}")
    wrong = await reason_of(Directory(impostor), f"Bearer {other.text}")

    assert unknown == wrong


async def test_only_who_holds_the_secret_learns_that_a_key_was_revoked() -> None:
    key, other = new_key(pepper=PEPPER), new_key(pepper=b"x" * 32)
    revoked = facts_of(key, revoke_time=NOW)
    impostor = facts_of(
        NewKey(key_id=other.key_id, text="", secret_hmac=key.secret_hmac), revoke_time=NOW
    )

    told = await reason_of(Directory(revoked), f"Bearer {key.text}")
    not_told = await reason_of(Directory(impostor), f"Bearer {other.text}")

    assert "revoked" in told
    assert "revoked" not in not_told


async def test_a_key_opens_until_its_time_is_over() -> None:
    key = new_key(pepper=PEPPER)
    later = Directory(facts_of(key, expire_time=NOW + timedelta(seconds=1)))

    assert await authenticator(later).authenticate(f"Bearer {key.text}")
    over = await reason_of(Directory(facts_of(key, expire_time=NOW)), f"Bearer {key.text}")

    assert "expired" in over


async def test_what_was_looked_up_is_believed_for_less_than_a_second() -> None:
    key = new_key(pepper=PEPPER)
    directory, clock = Directory(facts_of(key)), Clock()
    door = authenticator(directory, clock)

    await asyncio.gather(*(door.authenticate(f"Bearer {key.text}") for _ in range(50)))
    directory.facts[key.key_id] = facts_of(key, revoke_time=NOW)
    clock.seconds = 0.49
    await door.authenticate(f"Bearer {key.text}")
    clock.seconds = 0.51
    with pytest.raises(CallRefusedError):
        await door.authenticate(f"Bearer {key.text}")

    assert len(directory.questions) == 2


async def test_a_look_up_that_failed_is_not_remembered() -> None:
    key = new_key(pepper=PEPPER)

    class Failing(Directory):
        async def find(self, key_id: KeyId) -> KeyFacts | None:
            if not self.questions:
                self.questions.append(key_id)
                raise ConnectionError
            return await super().find(key_id)

    door = authenticator(Failing(facts_of(key)))

    with pytest.raises(ConnectionError):
        await door.authenticate(f"Bearer {key.text}")

    assert (await door.authenticate(f"Bearer {key.text}")).key_id == key.key_id


async def test_a_suspended_tenants_key_opens_and_says_so() -> None:
    key = new_key(pepper=PEPPER)
    directory = Directory(facts_of(key, state=TenantState.SUSPENDED))

    caller = await authenticator(directory).authenticate(f"Bearer {key.text}")

    assert caller.suspended


@pytest.mark.parametrize(
    ("old_seconds_left", "old_opens"), [(1, True), (0, False), (-1, False), (None, False)]
)
async def test_the_secret_before_opens_until_its_time_is_over(
    old_seconds_left: int | None, old_opens: bool
) -> None:
    old = new_key(pepper=PEPPER)
    new = new_secret(old.key_id, pepper=PEPPER)
    left = None if old_seconds_left is None else timedelta(seconds=old_seconds_left)
    facts = facts_of(
        new, old=old if left is not None else None, old_expire_time=NOW + left if left else NOW
    )
    door = authenticator(Directory(facts))

    assert (await door.authenticate(f"Bearer {new.text}")).key_id == old.key_id
    if old_opens:
        assert (await door.authenticate(f"Bearer {old.text}")).key_id == old.key_id
    else:
        with pytest.raises(CallRefusedError):
            await door.authenticate(f"Bearer {old.text}")


async def test_a_secret_that_is_newer_than_what_was_looked_up_opens_at_once() -> None:
    old = new_key(pepper=PEPPER)
    new = new_secret(old.key_id, pepper=PEPPER)
    directory = Directory(facts_of(old))
    door = authenticator(directory)
    await door.authenticate(f"Bearer {old.text}")
    directory.facts[old.key_id] = facts_of(new)

    caller = await door.authenticate(f"Bearer {new.text}")

    assert caller.key_id == old.key_id


async def test_wrong_secrets_of_a_known_key_cost_a_bounded_number_of_look_ups() -> None:
    key = new_key(pepper=PEPPER)
    directory = Directory(facts_of(key))
    door = authenticator(directory)

    for _ in range(500):
        with pytest.raises(CallRefusedError):
            await door.authenticate(f"Bearer {new_secret(key.key_id, pepper=PEPPER).text}")

    # One, and the ten that may come at once of sixty a minute; a slow machine earns a few more.
    assert len(directory.questions) < 50


class Tokens:
    """Takes one token, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def caller_of(self, token: str) -> Caller | None:
        self.asked.append(token)
        if token != "eyJ.good":
            return None
        return Caller(
            tenant_id=TenantId("acme"),
            key_id=KeyId("identity1"),
            role=Role.MEMBER,
            project="",
            suspended=False,
        )


def with_tokens(tokens: Tokens | None, *facts: KeyFacts) -> Authenticator:
    directory = Directory(*facts)
    lookups = KeyLookups(directory, LookupLimits(cache_seconds=0.5))
    return Authenticator(lookups, pepper=PEPPER, tenants=directory, tokens=tokens, now=lambda: NOW)


async def told(door: Authenticator, authorization: str, **beside: CertificateIdentity) -> str:
    try:
        return (await door.authenticate(authorization, **beside)).key_id
    except CallRefusedError as error:
        return error.refusal.message


async def test_a_token_is_taken_beside_keys_and_a_key_is_never_taken_for_one() -> None:
    key, tokens = new_key(pepper=PEPPER), Tokens()
    door = with_tokens(tokens, facts_of(key))

    assert await told(door, "bearer eyJ.good") == "identity1"
    assert await told(door, f"Bearer {key.text}") == key.key_id
    assert tokens.asked == ["eyJ.good"]


async def test_a_token_that_opens_nothing_is_refused_like_a_wrong_key() -> None:
    wrong_key = await told(with_tokens(None), "Bearer noise")

    assert await told(with_tokens(Tokens()), "Bearer eyJ.bad") == wrong_key
    assert await told(with_tokens(None), "Bearer eyJ.good") == wrong_key


async def test_a_token_opens_only_beside_a_certificate_of_its_own_tenant() -> None:
    def shown(tenant: str) -> CertificateIdentity:
        return CertificateIdentity(
            tenant_id=TenantId(tenant), role=Role.ADMIN, key_id=KeyId("certificate1")
        )

    door = with_tokens(Tokens())
    own = await told(door, "Bearer eyJ.good", certificate=shown("acme"))
    others = await told(door, "Bearer eyJ.good", certificate=shown("zeta"))

    assert own == "identity1"
    assert others == await told(door, "Bearer noise")
