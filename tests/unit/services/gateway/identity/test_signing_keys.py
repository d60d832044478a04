"""Which keys of a set are used, and that an odd one costs the issuer no other."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from services.gateway.identity.errors import KeySetError
from services.gateway.identity.signing_keys import read_jwks_url, read_signing_keys
from tests.unit.services.gateway.identity.token_fixtures import (
    ISSUER,
    URL,
    key_set,
    private_key,
    public_jwk,
)

GOOD = public_jwk("EdDSA")
GOOD_NAME = ("key-EdDSA", "EdDSA")


def short_rsa() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    jwk: dict[str, Any] = dict(
        get_default_algorithms()["RS256"].to_jwk(key.public_key(), as_dict=True)
    )
    return jwk | {"kid": "short"}


def private_jwk() -> dict[str, Any]:
    jwk = get_default_algorithms()["ES256"].to_jwk(private_key("ES256"), as_dict=True)
    return dict(jwk) | {"kid": "private"}


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "ES256"},
        short_rsa(),
        private_jwk(),
        public_jwk("ES256", use="enc"),
        public_jwk("ES256", key_ops=["sign"]),
        public_jwk("ES256", alg="ES384"),
        public_jwk("ES256", alg="none"),
        public_jwk("ES256", alg=["ES256"]),
        public_jwk("ES256", crv="P-384"),
        public_jwk("ES256", x="AA"),
        public_jwk("ES256", kid=None),
        public_jwk("ES256", kid=""),
        public_jwk("ES256", kty=["EC"]),
        public_jwk("RS256", n=7),
        public_jwk("RS256", alg="PS256"),
        {"kid": "nothing"},
        "a text",
        None,
    ],
)
def test_a_key_that_must_not_be_used_is_left_out_and_the_others_stay(odd: Any) -> None:
    keys = read_signing_keys(key_set(odd, GOOD), ISSUER.algorithms)

    assert set(keys) == {GOOD_NAME}


def test_two_keys_of_one_name_are_both_left_out() -> None:
    twice = [public_jwk("RS256", kid="same"), public_jwk("RS256", kid="same")]

    assert set(read_signing_keys(key_set(*twice, GOOD), ISSUER.algorithms)) == {GOOD_NAME}


def test_a_key_without_an_algorithm_is_good_for_those_of_its_kind_that_are_admitted() -> None:
    keys = read_signing_keys(key_set(public_jwk("RS256")), ["RS256", "PS384", "ES256"])

    assert set(keys) == {("key-RS256", "PS384"), ("key-RS256", "RS256")}


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", b'{"keys":[],"keys":[]}'],
)
def test_what_is_no_set_of_keys_is_refused(document: bytes) -> None:
    with pytest.raises(KeySetError):
        read_signing_keys(document, ISSUER.algorithms)


def test_a_set_of_too_many_keys_is_refused() -> None:
    with pytest.raises(KeySetError, match="more than 100"):
        read_signing_keys(key_set(*[GOOD] * 101), ISSUER.algorithms)


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "kid", "alg", "use", "key_ops", "n", "e", "x", "y"]),
            st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "AA", "", "é"])
            | st.none()
            | st.integers()
            | st.lists(st.text(max_size=2), max_size=2),
        ),
        max_size=3,
    )
)
def test_whatever_keys_say_the_good_one_is_read(odd: list[dict[str, Any]]) -> None:
    assert GOOD_NAME in read_signing_keys(key_set(*odd, GOOD), ISSUER.algorithms)


def test_discovery_names_the_place_of_the_keys_and_must_speak_of_the_issuer() -> None:
    said = f'{{"issuer": "{URL}", "jwks_uri": "https://keys.example/1"}}'

    assert read_jwks_url(said.encode(), ISSUER) == "https://keys.example/1"
    for other in (said.replace(URL, "https://evil.example"), '{"issuer": "' + URL + '"}', "no"):
        with pytest.raises(KeySetError):
            read_jwks_url(other.encode(), ISSUER)
