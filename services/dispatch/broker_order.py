"""A tenant's broker is put in order: what its worker wrote there that is no queue is taken away.

Whoever reaches a broker may write any key, and two of them matter: the queue, which publisher and
worker ask for its tokens, and kombu's note of it. All functions block, as the publisher's do.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Protocol, cast

from redis import Redis

from services.dispatch.broker_errors import BROKER_ERRORS
from services.dispatch.celery_app import shared_app
from services.dispatch.errors import BrokerDownError
from services.transport.broker_places import BrokerPlace, BrokerPlaces

# A token takes about 1 kB: with fewer than so many a broker of tens of megabytes is full of
# something else, and with more its worker has enough to do until there is room again.
_TOKENS_OF_A_FULL_BROKER: Final = 1000


def remove_misplaced(broker: BrokerPlace, *, queue: str) -> list[str]:
    """Remove what lies in a queue's place and is none; return the keys.

    Raises:
        BrokerDownError: the broker does not answer.
    """
    with _client_of(broker) as client:
        return unlink_misplaced(client, queue=queue)


def unlink_misplaced(client: Redis, *, queue: str) -> list[str]:
    """As ``remove_misplaced``, for who has a client."""
    types = {queue: b"list", f"_kombu.binding.{queue}": b"set"}
    misplaced = [
        key for key, expected in types.items() if client.type(key) not in (expected, b"none")
    ]
    if misplaced:
        # Freed beside the broker's one thread, however much it is.
        client.unlink(*misplaced)
    return misplaced


def empty_if_hogged(brokers: BrokerPlaces, *, tenant_id: str, model: str) -> bool:
    """Empty a broker that has no room although hardly a token lies in it; tell whether it was so.

    The tokens that go with the rest are missing from then on, and are published again. Other
    databases, scripts and functions take of the same memory.

    Raises:
        BrokerDownError: the broker does not answer.
    """
    with _client_of(brokers.of(tenant_id)) as client:
        if client.llen(model) >= _TOKENS_OF_A_FULL_BROKER:
            return False
        client.flushall(asynchronous=True)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        client.script_flush("ASYNC")
        client.function_flush("ASYNC")
    return True


class _RedisChannel(Protocol):
    """The part of kombu's channel that its type stubs leave out."""

    client: Redis


@contextmanager
def _client_of(broker: BrokerPlace) -> Generator[Redis]:
    try:
        broker.check_that_somebody_listens()
        with shared_app(broker).connection_for_write() as connection:
            yield cast("_RedisChannel", connection.default_channel).client
    except BROKER_ERRORS as error:
        raise BrokerDownError("the broker does not answer") from error
