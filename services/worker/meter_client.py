"""Marks on their way to the host's meter: the engine drops them here, an own thread sends them.

The stream has no answer before its end, so nobody learns what arrived. Therefore the marks of the
last seconds are kept, and a new stream begins by telling all of them again; the meter knows them by
their number. A mark that is older than that would be refused anyway.
"""

from collections import deque
from collections.abc import Iterator
from itertools import takewhile
from threading import Condition, Event, Thread
from time import monotonic_ns
from typing import Final

import grpc
import structlog

from services.engine.marks import Mark, MarkKind
from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.transport.callees import Callee
from services.transport.channels import open_channel
from services.transport.hosts import read_boot_id
from tenants.ids import GpuId, SessionId

_SECOND_NANOS: Final = 1_000_000_000
# A quarter of the silence after which the meter gives a worker's time up.
_QUIET_SECONDS: Final = 0.5
# While there is news, and for a while after it: the meter closes a mark's segment only when the
# watermark has passed the reading behind it, and a finished image waits for that.
_BUSY_SECONDS: Final = 0.05
_BUSY_AFTER_NEWS_NANOS: Final = _SECOND_NANOS // 2
_RECONNECT_SECONDS: Final = 0.25
_KEPT_NANOS: Final = 10 * _SECOND_NANOS
_KEPT_MARKS_MAX: Final = 20_000
_MESSAGE_MARKS_MAX: Final = 500
# The engine reads the clock a moment before it says that something began.
_BEGIN_SLACK_NANOS: Final = _SECOND_NANOS // 50

_KINDS: Final = {
    MarkKind.STEP: meter_pb2.MARK_KIND_STEP,
    MarkKind.TEXT_ENCODE: meter_pb2.MARK_KIND_TEXT_ENCODE,
    MarkKind.VAE_DECODE: meter_pb2.MARK_KIND_VAE_DECODE,
    MarkKind.LOAD: meter_pb2.MARK_KIND_LOAD,
    MarkKind.WARM_UP: meter_pb2.MARK_KIND_WARM_UP,
}

log = structlog.get_logger()


class MeterClient:
    """The engine's MarkSink: `begin` and `end` note down and return.

    Make and start it before the model is loaded, so that the load is metered too; `close` says
    good-bye. A meter that is away costs nothing but the marks older than ten seconds.
    """

    def __init__(self, *, meter: Callee, session_id: SessionId, gpu_id: GpuId) -> None:
        self._meter = meter
        self._session_id = session_id
        # What says on a socket's way its directory.
        self._place = meter_pb2.MarkRequest(gpu_id=gpu_id, boot_id=read_boot_id())
        self._news = Condition()
        self._kept: deque[meter_pb2.Mark] = deque(maxlen=_KEPT_MARKS_MAX)
        self._running_since_nanos: int | None = None
        self._last_end_nanos = 0
        # No mark that is told from now on starts before it.
        self._promised_nanos = monotonic_ns()
        self._closing = Event()
        self._thread = Thread(target=self._stream_until_closed, name="marks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, *, timeout_seconds: float = 2.0) -> None:
        """Send what is left and end the stream, so that the device counts as free from here on."""
        with self._news:
            self._closing.set()
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        with self._news:
            self._running_since_nanos = start_nanos

    def end(self, mark: Mark) -> None:
        with self._news:
            self._running_since_nanos = None
            self._last_end_nanos = max(self._last_end_nanos, mark.end_nanos)
            # That a worker is parked is what the meter concludes from the absence of marks.
            if mark.kind is not MarkKind.PARKED:
                self._keep(mark)
                self._news.notify_all()

    def _keep(self, mark: Mark) -> None:
        self._kept.append(
            meter_pb2.Mark(
                number=mark.number,
                kind=_KINDS[mark.kind],
                start_nanos=max(mark.start_nanos, self._promised_nanos),
                end_nanos=max(mark.end_nanos, self._promised_nanos + 1),
                work=[
                    meter_pb2.Work(image_id=key.image_id, attempt=key.attempt, units=units)
                    for key, units in mark.work
                ],
            )
        )
        while self._kept[0].end_nanos < mark.end_nanos - _KEPT_NANOS:
            self._kept.popleft()

    def _stream_until_closed(self) -> None:
        is_broken = False
        while True:
            try:
                refused_count = self._stream()
            except (grpc.RpcError, OSError) as error:
                if not is_broken:
                    reason = error.code().name if isinstance(error, grpc.Call) else str(error)
                    log.warning("marks_stream_broken", reason=reason)
                is_broken = True
            else:
                is_broken = False
                if refused_count:
                    log.warning("marks_refused", mark_count=refused_count)
            if self._closing.wait(_RECONNECT_SECONDS):
                return

    def _stream(self) -> int:
        """Tell marks until the stream breaks or `close` is called; return how many were refused."""
        # A channel of its own each time: it connects at once, without the back-off of the old one.
        with open_channel(self._meter) as channel:
            stub = meter_pb2_grpc.MeterServiceStub(channel)
            return stub.Mark(self.messages()).refused_mark_count

    def messages(self) -> Iterator[meter_pb2.MarkRequest]:
        """Yield what one stream tells: news, and something often enough not to count as dead."""
        is_first = True
        told_number = 0
        news_nanos = monotonic_ns()
        while True:
            is_last = self._closing.is_set()
            with self._news:
                news = self._news_since(told_number)
                marks, rest = news[:_MESSAGE_MARKS_MAX], news[_MESSAGE_MARKS_MAX:]
                watermark_nanos = rest[0].start_nanos if rest else self._watermark()
            if marks:
                told_number = marks[-1].number
                news_nanos = monotonic_ns()
            request = meter_pb2.MarkRequest(
                session_id=self._session_id, marks=marks, watermark_nanos=watermark_nanos
            )
            if is_first:
                request.MergeFrom(self._place)
                is_first = False
            yield request
            if is_last and not rest:
                return
            if not rest:
                self._wait(
                    told_number, is_busy=monotonic_ns() - news_nanos < _BUSY_AFTER_NEWS_NANOS
                )

    def _news_since(self, told_number: int) -> list[meter_pb2.Mark]:
        newest_first = takewhile(lambda mark: mark.number > told_number, reversed(self._kept))
        return list(newest_first)[::-1]

    def _watermark(self) -> int:
        if self._running_since_nanos is None:
            settled_nanos = max(self._last_end_nanos, monotonic_ns() - _BEGIN_SLACK_NANOS)
        else:
            settled_nanos = self._running_since_nanos
        self._promised_nanos = max(self._promised_nanos, settled_nanos)
        return self._promised_nanos

    def _wait(self, told_number: int, *, is_busy: bool) -> None:
        """Wait a little, so that steps of milliseconds travel together, then for news."""
        self._closing.wait(_BUSY_SECONDS)
        if is_busy:
            return
        with self._news:
            if not self._news_since(told_number) and not self._closing.is_set():
                self._news.wait(_QUIET_SECONDS - _BUSY_SECONDS)
