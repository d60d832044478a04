"""Kombu's transport for Redis, reduced to tokens: nothing of what a message says reaches Celery.

Whoever reaches a tenant's broker may put anything into its queue. A message is a token or it is
not; for each token Celery is handed one of ours, so that no deadline, callback, encoding or
delivery tag of a stranger's is obeyed. All else is counted and forgotten: it would end the
consumer, and with it the worker and its loaded model.
"""

from base64 import b64encode
from collections.abc import Callable
from queue import Empty
from typing import Any, Final, cast
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import RedisError

from services.dispatch.broker_errors import is_wrong_type
from services.dispatch.broker_order import unlink_misplaced
from services.dispatch.celery_app import RENDER_IMAGE
from services.transport.broker_places import BrokerPlace

# What a transport is told by, in `broker_transport_options`.
ON_GARBAGE: Final = "on_garbage"
ON_TURN: Final = "on_turn"
_NO_ARGUMENTS: Final = b64encode(b"[[], {}, {}]").decode()


class TokenChannel(redis.Channel):
    """Takes what the queue holds, and outlives it."""

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - kombu has no types here
        kombus = cast("Any", super())
        try:
            return kombus._brpop_read(**options)  # noqa: SLF001 - it is ours too
        except (*cast("Any", self).connection_errors, Empty, RedisError) as error:
            # What the broker itself says is no garbage: it would say so again at once, for ever.
            # But something else in the queue's place can be taken away, and then it will not.
            if not is_wrong_type(error):
                raise
            self._put_in_order()
            raise Empty from None
        except Exception as error:  # noqa: BLE001 - what strangers wrote may fail in any way
            cast("Any", self).connection.on_garbage(type(error).__name__)
            # The poller asks again.
            raise Empty from None

    def _put_in_order(self) -> None:
        kombus = cast("Any", self)
        with kombus.conn_or_acquire() as client:
            for queue in kombus.active_queues:
                for key in unlink_misplaced(client, queue=queue):
                    kombus.connection.on_garbage(f"another type at {key}")


class TokenTransport(redis.Transport):
    """As `redis`, of tokens only."""

    Channel = TokenChannel

    def establish_connection(self) -> Any:  # noqa: ANN401 - kombu has no types here
        """Connect, which is also what a consumer does again and again while there is no broker."""
        self._turn()()
        return cast("Any", super()).establish_connection()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ANN401 - likewise
        """Let the consumer's loop tell each of its rounds, also those in which nothing came."""
        cast("Any", super()).register_with_event_loop(connection, loop)
        # A set: after a lost connection the same callable is there once, not twice.
        loop.on_tick.add(self._turn())

    def on_garbage(self, reason: str) -> None:
        """Tell whoever counts; of the content nothing is told."""
        tell: Callable[[str], None] = cast("Any", self).client.transport_options[ON_GARBAGE]
        tell(reason)

    def _turn(self) -> Callable[[], None]:
        return cast("Any", self).client.transport_options[ON_TURN]

    def _deliver(self, message: object, queue: str | None) -> None:
        if queue is not None and _is_token(message):
            cast("Any", super())._deliver(_token(queue), queue)  # noqa: SLF001 - it is ours too
        else:
            self.on_garbage("not a token")


# Kombu knows transports by the beginning of an address.
_SCHEME: Final = "tokens"
TRANSPORT_ALIASES[_SCHEME] = f"{TokenTransport.__module__}:{TokenTransport.__qualname__}"


def token_url(broker: BrokerPlace) -> str:
    """How kombu is told to read tokens from a broker."""
    return _SCHEME + broker.url.removeprefix("redis")


def _is_token(message: object) -> bool:
    match message:
        case {"headers": {"task": str(task)}}:
            return task == RENDER_IMAGE
        case _:
            return False


def _token(queue: str) -> dict[str, object]:
    """A message as Celery writes it, worth one image."""
    task_id = str(uuid4())
    return {
        "body": _NO_ARGUMENTS,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": RENDER_IMAGE, "id": task_id, "root_id": task_id},
        "properties": {
            "body_encoding": "base64",
            "correlation_id": task_id,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_mode": 2,
            "delivery_tag": str(uuid4()),
            "priority": 0,
        },
    }
