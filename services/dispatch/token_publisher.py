"""Publishing tokens to a tenant's workers and counting those that nobody has fetched yet.

Both functions block: an asynchronous caller uses a thread.
"""

from typing import Protocol, cast

from kombu.exceptions import ChannelError

from services.dispatch.broker_errors import BROKER_ERRORS, refusal
from services.dispatch.celery_app import RENDER_IMAGE, TOKEN_PRIORITY, shared_app
from services.transport.broker_places import BrokerPlaces


def publish_tokens(brokers: BrokerPlaces, *, tenant_id: str, model: str, count: int) -> None:
    """Put tokens into a tenant's queue for a model, each worth one image.

    Raises:
        BrokerDownError: not all were published; too many or too few tokens do no harm.
        BrokerFullError: and there was no room.
        BrokerKeysError: and something else lies in the queue's place.
    """
    broker = brokers.of(tenant_id)
    app = shared_app(broker)
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
    except BROKER_ERRORS as error:
        raise refusal(error)(f"the broker of {tenant_id} does not take tokens") from error


def queue_length(brokers: BrokerPlaces, *, tenant_id: str, model: str) -> int:
    """Count a model's tokens that no worker has fetched yet.

    Raises:
        BrokerDownError: the broker does not answer.
        BrokerKeysError: something else lies in the queue's place.
    """
    broker = brokers.of(tenant_id)
    app = shared_app(broker)
    try:
        broker.check_that_somebody_listens()
        with app.connection_for_read() as connection, connection.channel() as channel:
            return cast("_Channel", channel).queue_declare(queue=model, passive=True).message_count
    except ChannelError:
        # Redis keeps no empty list: a queue that is not there has nothing in it.
        return 0
    except BROKER_ERRORS as error:
        raise refusal(error)(f"the broker of {tenant_id} does not answer") from error


class _DeclaredQueue(Protocol):
    message_count: int


class _Channel(Protocol):
    """The part of kombu's channel that its type stubs leave out."""

    def queue_declare(self, *, queue: str, passive: bool) -> _DeclaredQueue: ...
