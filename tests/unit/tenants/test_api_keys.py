from hypothesis import given
from hypothesis import strategies as st

from tenants.api_keys import matches, new_key, parse_key

PEPPER = b"pepper"


def test_a_new_key_is_recognised() -> None:
    key = new_key(pepper=PEPPER)

    presented = parse_key(key.text)

    assert presented is not None
    assert presented.key_id == key.key_id
    assert matches(presented, secret_hmac=key.secret_hmac, pepper=PEPPER)


def test_the_secret_of_another_key_does_not_match() -> None:
    presented = parse_key(new_key(pepper=PEPPER).text)

    assert presented is not None
    assert not matches(presented, secret_hmac=new_key(pepper=PEPPER).secret_hmac, pepper=PEPPER)


def test_another_pepper_does_not_match() -> None:
    key = new_key(pepper=PEPPER)
    presented = parse_key(key.text)

    assert presented is not None
    assert not matches(presented, secret_hmac=key.secret_hmac, pepper=b"salt")


def test_a_mistyped_key_is_refused_by_its_checksum() -> None:
    text = new_key(pepper=PEPPER).text
    mistyped = text[:-10] + ("a" if text[-10] != "a" else "b") + text[-9:]

    assert parse_key(mistyped) is None


@given(text=st.text(max_size=80))
def test_noise_is_refused(text: str) -> None:
    assert parse_key(text) is None
