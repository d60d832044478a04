"""Which tokens hold, and that every other is refused, cheaply and for the reason that it has."""

import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.errors import CallRefusedError
from services.gateway.identity.errors import TokenRefusedError
from services.gateway.identity.issuer_keys import IssuerKeys
from services.gateway.identity.signing_keys import SigningKeys
from services.gateway.identity.token_reading import TOKEN_LENGTH_MAX
from services.gateway.identity.token_verification import TokenVerifier, TrustedIssuer
from tests.unit.services.gateway.identity.token_fixtures import (
    ALGORITHMS,
    ISSUER,
    NOW,
    URL,
    claims,
    forged,
    issuers_keys,
    private_key,
    public_jwk,
    signed,
)

HEADER = {"alg": "ES256", "kid": "key-ES256", "typ": "at+jwt"}


class Provider:
    """Answers with its keys, and counts who asks."""

    def __init__(self) -> None:
        self.keys: SigningKeys = issuers_keys()
        self.asked_count = 0

    async def read(self) -> SigningKeys:
        self.asked_count += 1
        return self.keys


class Clock:
    def __init__(self) -> None:
        self.seconds: float = NOW

    def __call__(self) -> float:
        return self.seconds


def verifier(
    provider: Provider | None = None, clock: Clock | None = None, *, per_minute_max: int = 6_000
) -> TokenVerifier:
    time = clock or Clock()
    keys = IssuerKeys(ISSUER, (provider or Provider()).read, monotonic_seconds=time)
    return TokenVerifier(
        {URL: TrustedIssuer(issuer=ISSUER, keys=keys)},
        strangers_per_minute_max=per_minute_max,
        now_seconds=time,
    )


async def reason(token: str) -> str:
    with pytest.raises(TokenRefusedError) as refused:
        await verifier().verify(token)
    return refused.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_the_issuer_holds_under_each_kind_of_key(algorithm: str) -> None:
    verified = await verifier().verify(signed(algorithm, groups=["red", "blue"]))

    said = [(claim.claim, claim.claim_value) for claim in verified.content.claims]
    assert (verified.issuer, verified.content.subject) == (URL, "somebody")
    assert said == [("sub", "somebody"), ("groups", "red"), ("groups", "blue")]


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": URL + "/"}, "issuer"),
        ({"iss": None}, "form"),
        ({"iss": [URL]}, "form"),
        ({"aud": "somebody-else"}, "audience"),
        ({"aud": ["somebody-else", 7, "atelier"]}, "audience"),
        ({"aud": {"atelier": True}}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": "ATELIER"}, "audience"),
        ({"iat": NOW - 900, "exp": NOW - 31}, "expired"),
        ({"exp": None}, "times"),
        ({"iat": None}, "times"),
        ({"exp": str(NOW + 300)}, "times"),
        ({"exp": True}, "times"),
        ({"exp": 10**400}, "times"),
        ({"nbf": "soon"}, "times"),
        ({"iat": NOW + 31, "exp": NOW + 300}, "not_yet_valid"),
        ({"nbf": NOW + 31}, "not_yet_valid"),
        ({"exp": NOW + 3_591}, "lifetime"),
        ({"exp": NOW - 10}, "lifetime"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sub": "some\x00body"}, "subject"),
        ({"sub": "\ud800"}, "subject"),
        ({"sub": "s" * 256}, "subject"),
        ({"groups": [f"g{number}" for number in range(64)]}, "too_many_values"),
    ],
)
async def test_a_signed_token_that_breaks_a_term_is_refused(
    change: dict[str, Any], because: str
) -> None:
    # PyJWT itself would not write some of these.
    content = json.dumps(claims(**change))
    token = jwt.api_jws.encode(
        content.encode(), private_key("ES256"), "ES256", headers=HEADER | {"alg": "ES256"}
    )

    assert await reason(token) == because


async def test_a_token_opens_until_its_end_and_the_leeway_are_over() -> None:
    clock = Clock()
    door, token = verifier(clock=clock), signed()
    clock.seconds = NOW + 300 + 29
    await door.verify(token)
    clock.seconds = NOW + 300 + 30

    with pytest.raises(TokenRefusedError, match="expired"):
        await door.verify(token)


PUBLIC_PEM = b"-----BEGIN PUBLIC KEY-----\nof the issuer\n-----END PUBLIC KEY-----\n"


def signed_with_the_public_key(algorithm: str) -> str:
    """HS256 keyed with what everybody knows: whoever lets the token choose would let it in."""
    unsigned = forged(HEADER | {"alg": algorithm}, claims()).rpartition(".")[0]
    signature = hmac.digest(PUBLIC_PEM, unsigned.encode(), "sha256")
    return forged(HEADER | {"alg": algorithm}, claims(), signature)


@pytest.mark.parametrize(
    ("token", "because"),
    [
        (forged(HEADER | {"alg": "none"}, claims()), "algorithm"),
        (forged(HEADER | {"alg": "none"}, claims(), b"").rstrip("."), "form"),
        (forged(HEADER | {"alg": "nOnE"}, claims()), "algorithm"),
        (signed_with_the_public_key("HS256"), "algorithm"),
        (signed_with_the_public_key("HS512"), "algorithm"),
        # A key of the issuer, under an algorithm that is not that key's.
        (forged(HEADER | {"alg": "RS256"}, claims()), "key"),
        (forged(HEADER | {"alg": "ES384"}, claims()), "algorithm"),
        (forged(HEADER | {"kid": "../../etc/passwd"}, claims()), "key"),
        (forged(HEADER | {"kid": "key-ES256' OR '1'='1"}, claims()), "key"),
        (forged(HEADER | {"kid": "k" * 257}, claims()), "form"),
        (forged(HEADER | {"kid": 7}, claims()), "form"),
        (forged({"alg": "ES256", "typ": "at+jwt"}, claims()), "form"),
        (forged(HEADER | {"typ": "id+jwt"}, claims()), "type"),
        (forged({"alg": "ES256", "kid": "key-ES256"}, claims()), "form"),
        (forged(HEADER | {"crit": ["exp"]}, claims()), "form"),
        (forged(HEADER | {"b64": False, "crit": ["b64"]}, claims()), "form"),
        (forged(HEADER, claims()), "signature"),
        (forged(HEADER, claims(), bytes(64)), "signature"),
        (forged(HEADER, '{"iss":"a","iss":"b"}'), "form"),
        (forged('{"alg":"none","alg":"ES256","kid":"k","typ":"at+jwt"}', claims()), "form"),
        (forged(HEADER, '{"exp": NaN}'), "form"),
        (forged(HEADER, "[" * 2_000), "form"),
        (forged(HEADER, '{"a":' * 700), "form"),
        (forged(HEADER, "[]"), "form"),
        (forged(HEADER, claims(padding="x" * TOKEN_LENGTH_MAX)), "form"),
        (forged(HEADER | {"padding": "x" * 1_024}, claims()), "form"),
        ("eyJ", "form"),
        ("eyJ.eyJ.", "form"),
        ("eyJ.eyJ.eyJ.eyJ", "form"),
        ("eyJ.eyJ.eyJ\n", "form"),
        ("eyJ.eyJ=.eyJ", "form"),
    ],
)
async def test_a_forged_token_is_refused(token: str, because: str) -> None:
    assert await reason(token) == because


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
async def test_a_key_that_the_token_itself_names_is_not_looked_at(name: str) -> None:
    stranger = jwt.PyJWK(public_jwk("ES256", kid="key-ES256"), "ES256")
    assert stranger.key_id == "key-ES256"
    token = jwt.encode(
        claims(),
        private_key("of somebody else"),
        "ES256",
        headers=HEADER | {name: "https://evil.example/keys"},
    )

    assert await reason(token) == "signature"


async def test_a_changed_claim_breaks_the_signature() -> None:
    head, _, signature = signed().split(".")
    other = forged(HEADER, claims(sub="boss")).split(".")[1]

    assert await reason(f"{head}.{other}.{signature}") == "signature"


@given(st.text(max_size=300))
async def test_whatever_is_sent_is_refused_and_never_breaks_us(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        await verifier().verify(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(name=st.sampled_from(["iss", "aud", "sub", "iat", "exp", "nbf", "groups"]), value=JSON)
async def test_whatever_a_claim_says_nobody_becomes_somebody_else(name: str, value: Any) -> None:
    content = json.dumps(claims() | {name: value})
    token = jwt.api_jws.encode(content.encode(), private_key("ES256"), "ES256", headers=HEADER)
    try:
        verified = await verifier().verify(token)
    except TokenRefusedError:
        return

    said = json.loads(content)
    assert verified.content.subject == said["sub"]
    assert said["iss"] == URL
    assert "atelier" in said["aud"]


async def test_a_token_is_checked_once_and_remembered() -> None:
    provider = Provider()
    door, token = verifier(provider, per_minute_max=6), signed()

    for _ in range(100):
        await door.verify(token)

    # A sixth of the limit may come at once: one signature.
    assert (provider.asked_count, door.remembered_count) == (1, 1)


async def test_a_remembered_token_falls_with_the_key_that_signed_it() -> None:
    provider, clock = Provider(), Clock()
    door, token = verifier(provider, clock), signed()
    await door.verify(token)
    provider.keys = {name: key for name, key in issuers_keys().items() if name[0] != "key-ES256"}
    clock.seconds += 60
    with pytest.raises(TokenRefusedError):
        # What makes the keys be read again; in life the clock does.
        await door.verify(signed(headers={"kid": "unknown"}))

    with pytest.raises(TokenRefusedError, match="key"):
        await door.verify(token)


async def test_a_flood_of_forged_signatures_costs_a_bounded_number_of_checks() -> None:
    door = verifier(per_minute_max=60)
    outcomes = [await outcome(door, forged(HEADER, claims(), bytes([n]) * 64)) for n in range(200)]

    # Ten at once; a slow machine earns one more for each second that it takes.
    assert 10 <= outcomes.count("signature") <= 40
    assert outcomes.count("signature") + outcomes.count("RATE_LIMITED") == 200
    assert door.remembered_count == 0


async def outcome(door: TokenVerifier, token: str) -> str:
    try:
        await door.verify(token)
    except TokenRefusedError as error:
        return error.reason
    except CallRefusedError as error:
        return "RATE_LIMITED" if "too many" in error.refusal.message else error.refusal.message
    return "OK"
