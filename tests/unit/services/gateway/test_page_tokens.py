import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.errors import CallRefusedError
from services.gateway.page_tokens import PageTokens

TOKENS = PageTokens(b"k" * 32)


@given(position=st.lists(st.text(max_size=40), max_size=4), query=st.binary(max_size=64))
def test_a_token_carries_its_position_back(position: list[str], query: bytes) -> None:
    token = TOKENS.write(position, query=query)

    assert TOKENS.read(token, query=query) == tuple(position)


def test_a_token_of_another_query_is_refused() -> None:
    token = TOKENS.write(["7"], query=b"ListJobs acme")

    with pytest.raises(CallRefusedError):
        TOKENS.read(token, query=b"ListJobs zeta")


@given(index=st.integers(min_value=0, max_value=27), replacement=st.sampled_from("AQgw_-019z"))
def test_a_token_changed_anywhere_is_refused(index: int, replacement: str) -> None:
    token = TOKENS.write(["7"], query=b"q")
    index %= len(token)
    changed = token[:index] + replacement + token[index + 1 :]
    if changed == token:
        return

    with pytest.raises(CallRefusedError):
        TOKENS.read(changed, query=b"q")


@pytest.mark.parametrize("noise", ["x", "====", "ü", "A" * 5000, "not base64!", ""])
def test_noise_is_refused_like_a_wrong_token(noise: str) -> None:
    with pytest.raises(CallRefusedError):
        TOKENS.read(noise, query=b"q")


def test_a_token_of_another_secret_is_refused() -> None:
    token = PageTokens(b"x" * 32).write(["7"], query=b"q")

    with pytest.raises(CallRefusedError):
        TOKENS.read(token, query=b"q")
