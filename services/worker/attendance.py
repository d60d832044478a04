"""The worker's session with the recorder: heartbeats up, the whole truth down, on own threads.

It begins before the model is loaded, so that the session's lease holds through load and compile,
and it goes on while the engine is busy, because it shares no lock with it.
"""

from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Final

import structlog

from services.worker.errors import RecorderUnavailableError
from services.worker.recorder_client import RecorderClient
from services.worker.work import Beat, Truth

_RECONNECT_SECONDS: Final = 0.25

log = structlog.get_logger()


class Attendance:
    """Sends what ``beat`` returns each ``heartbeat_seconds``, and at once when ``hasten``ed."""

    def __init__(
        self,
        recorder: RecorderClient,
        *,
        heartbeat_seconds: float,
        beat: Callable[[], Beat],
        take_truth: Callable[[Truth], None],
    ) -> None:
        self._recorder = recorder
        self._heartbeat_seconds = heartbeat_seconds
        self._beat = beat
        self._take_truth = take_truth
        self._turns = 0
        self._news = Event()
        self._closing = Event()
        self._thread = Thread(target=self._attend_until_closed, name="attendance", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def turns(self) -> int:
        """Grows with each heartbeat, and with each attempt to reach the recorder."""
        return self._turns

    def hasten(self) -> None:
        """Something changed that the recorder should know now."""
        self._news.set()

    def close(self, *, timeout_seconds: float = 5.0) -> None:
        """Send a last heartbeat and end the stream, which ends the session."""
        self._closing.set()
        self._news.set()
        self._thread.join(timeout_seconds)

    def _attend_until_closed(self) -> None:
        while not self._closing.is_set():
            self._turns += 1
            try:
                for truth in self._recorder.attend(self._beats()):
                    self._take_truth(truth)
            except RecorderUnavailableError as error:
                log.warning("recorder_away", reason=str(error))
                self._closing.wait(_RECONNECT_SECONDS)

    def _beats(self) -> Iterator[Beat]:
        while True:
            is_last = self._closing.is_set()
            self._news.clear()
            self._turns += 1
            yield self._beat()
            if is_last:
                return
            self._news.wait(self._heartbeat_seconds)
