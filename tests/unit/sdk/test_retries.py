import pytest

from atelier.errors import ErrorStatus, error_from_status
from atelier.retries import RetryPolicy


def delay(code: str, *, failed_attempts: int = 1, hint: float | None = None) -> float | None:
    status = ErrorStatus(code=code, reason="", message="no", retry_delay_seconds=hint)
    return RetryPolicy().delay_seconds(error_from_status(status), failed_attempts=failed_attempts)


def test_what_is_unavailable_is_tried_again_after_longer_and_longer_waits() -> None:
    waits = [delay("UNAVAILABLE", failed_attempts=count) for count in range(1, 8)]

    for count, wait in enumerate(waits):
        longest = min(0.2 * 2**count, 10.0)
        assert wait is not None
        assert longest / 2 <= wait <= longest


def test_patience_ends_after_eight_calls() -> None:
    assert delay("UNAVAILABLE", failed_attempts=7) is not None
    assert delay("UNAVAILABLE", failed_attempts=8) is None


def test_an_exhausted_limit_is_waited_for_only_where_the_server_says_how_long() -> None:
    assert delay("RESOURCE_EXHAUSTED") is None
    assert delay("RESOURCE_EXHAUSTED", hint=3.0) == 3.0


def test_a_hint_of_more_than_a_minute_is_the_caller_s_to_wait_for() -> None:
    assert delay("UNAVAILABLE", hint=61.0) is None


@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED"]
)
def test_other_failures_are_not_tried_again(code: str) -> None:
    assert delay(code, hint=1.0) is None
