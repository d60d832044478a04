"""The Celery worker in this process: fetches tokens from the tenant's broker, one thread each."""

from collections.abc import Callable
from threading import Thread
from typing import Final, Protocol, cast

import structlog

from services.dispatch.broker_order import remove_misplaced
from services.dispatch.celery_app import RENDER_IMAGE, tenant_app
from services.dispatch.errors import BrokerDownError
from services.transport.broker_places import BrokerPlace
from services.worker.token_transport import ON_GARBAGE, ON_TURN, token_url

_STOP_SECONDS: Final = 5.0

log = structlog.get_logger()


class _WorkController(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


class Consumer:
    """Runs ``render_image`` for every token of one queue; survives the broker's absence."""

    def __init__(
        self, *, broker: BrokerPlace, queue: str, threads: int, render_image: Callable[[], None]
    ) -> None:
        self._broker, self._queue = broker, queue
        app = tenant_app(broker)
        app.conf.update(broker_read_url=token_url(broker))
        app.conf.broker_transport_options[ON_GARBAGE] = self._note_garbage
        app.conf.broker_transport_options[ON_TURN] = self._note_turn
        # Celery's threads look tasks up in the process's default app. A shared task would be there
        # as well, but once for all: a second consumer's tokens would run the first one's.
        app.set_default()
        app.task(name=RENDER_IMAGE, shared=False)(render_image)
        self._garbage_count = 0
        self._turns = 0
        # WorkController, not Worker: the process's signals are the worker's own.
        self._controller = cast(
            "_WorkController",
            app.WorkController(
                pool="threads",
                concurrency=threads,
                queues=[queue],
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            ),
        )
        self._thread = Thread(target=self._controller.start, name="consumer", daemon=True)

    def start(self) -> None:
        """Begin to fetch; what an earlier worker left in the queue's place would end it at once."""
        try:
            if keys := remove_misplaced(self._broker, queue=self._queue):
                self._note_garbage(f"{len(keys)} keys of another type")
        except BrokerDownError as error:
            log.info("broker_awaited", reason=str(error))
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def garbage_count(self) -> int:
        """How many messages were no tokens since the start."""
        return self._garbage_count

    @property
    def turns(self) -> int:
        """Grows with each round of Celery's loop, and with each attempt to reach the broker."""
        return self._turns

    def stop(self) -> None:
        """Fetch no more tokens; those in our threads have ended when the slots are draining."""
        stopper = Thread(target=self._controller.stop, name="consumer-stop", daemon=True)
        stopper.start()
        stopper.join(_STOP_SECONDS)
        if stopper.is_alive():
            log.warning("consumer_still_stopping", seconds=_STOP_SECONDS)

    def _note_garbage(self, reason: str) -> None:
        """Only Celery's one thread reads from the broker."""
        self._garbage_count += 1
        log.warning("garbage_in_queue", reason=reason, garbage_count=self._garbage_count)

    def _note_turn(self) -> None:
        self._turns += 1
