"""What kombu and the client library raise, in the words of this package."""

from typing import Final

from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from services.dispatch.errors import BrokerDownError, BrokerFullError, BrokerKeysError

BROKER_ERRORS: Final = (OSError, KombuError, OperationalError, RedisError)


def refusal(error: BaseException | None) -> type[BrokerDownError]:
    """Return which of our errors an error of theirs is, however deep kombu has wrapped it."""
    while error is not None:
        if isinstance(error, OutOfMemoryError):
            return BrokerFullError
        if is_wrong_type(error):
            return BrokerKeysError
        error = error.__cause__ or error.__context__
    return BrokerDownError


def is_wrong_type(error: BaseException) -> bool:
    """Tell whether a key held something else than what was asked of it."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)
