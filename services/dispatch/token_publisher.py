"""Publishing tokens to a tenant's workers and counting those that nobody has fetched yet.

Both functions block: an asynchronous caller uses a thread.
"""

from functools import lru_cache
from typing import Final, Protocol, cast

from celery import Celery
from kombu.exceptions import ChannelError, KombuError, OperationalError
from redis.exceptions import RedisError

from services.dispatch.celery_app import RENDER_IMAGE, TOKEN_PRIORITY, tenant_app
from services.dispatch.errors import BrokerDownError
from services.transport.broker_places import BrokerPlace, BrokerPlaces

_BROKER_ERRORS: Final = (OSError, KombuError, OperationalError, RedisError)


def publish_tokens(brokers: BrokerPlaces, *, tenant_id: str, model: str, count: int) -> None:
    """Put tokens into a tenant's queue for a model, each worth one image.

    Raises:
        BrokerDownError: not all were published; too many or too few tokens do no harm.
    """
    broker = brokers.of(tenant_id)
    app = _app_of(broker)
    try:
        broker.check_that_somebody_listens()
        with app.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                app.send_task(
                    RENDER_IMAGE,
                    queue=model,
                    priority=TOKEN_PRIORITY,
                    producer=producer,
                    retry=False,
                )
    except _BROKER_ERRORS as error:
        raise BrokerDownError(f"the broker of {tenant_id} does not take tokens") from error


def queue_length(brokers: BrokerPlaces, *, tenant_id: str, model: str) -> int:
    """Count a model's tokens that no worker has fetched yet.

    Raises:
        BrokerDownError: the broker does not answer.
    """
    broker = brokers.of(tenant_id)
    app = _app_of(broker)
    try:
        broker.check_that_somebody_listens()
        with app.connection_for_read() as connection, connection.channel() as channel:
            return cast("_Channel", channel).queue_declare(queue=model, passive=True).message_count
    except ChannelError:
        # Redis keeps no empty list: a queue that is not there has nothing in it.
        return 0
    except _BROKER_ERRORS as error:
        raise BrokerDownError(f"the broker of {tenant_id} does not answer") from error


class _DeclaredQueue(Protocol):
    message_count: int


class _Channel(Protocol):
    """The part of kombu's channel that its type stubs leave out."""

    def queue_declare(self, *, queue: str, passive: bool) -> _DeclaredQueue: ...


@lru_cache(maxsize=1024)
def _app_of(broker: BrokerPlace) -> Celery:
    """One app for each broker, so that publishers share its few connections."""
    return tenant_app(broker)
