"""The engine: one thread that owns the device and draws all images in flight, step by step."""

from concurrent.futures import Future
from threading import Condition, Event, Thread
from time import monotonic
from typing import Final

import structlog
import torch

from services.engine.admission import Admission, Entrant
from services.engine.batch_limits import BatchLimits
from services.engine.drawing_model import DrawingModel
from services.engine.drawn import Drawn, ProgressCallback
from services.engine.duty_cycle import DutyCycle
from services.engine.errors import EngineClosedError, FailureReason
from services.engine.image_spec import AttemptKey, ImageSpec, compatibility_key
from services.engine.marks import MarkSink, MarkWriter
from services.engine.orders import Order
from services.engine.painter import Painter, too_large

IDLE_SECONDS: Final = 1.0

log = structlog.get_logger()


class Engine:
    """Draws submitted images; every method may be called from any thread."""

    def __init__(
        self,
        *,
        model: DrawingModel,
        batch_slots: int,
        interactive_slots: int,
        marks: MarkSink,
        threads: int | None = None,
        limits: BatchLimits | None = None,
    ) -> None:
        self._model = model
        self._threads = threads
        self._admission = Admission(batch_slots=batch_slots, interactive_slots=interactive_slots)
        self._limits = limits or BatchLimits()
        self._painter = Painter(
            model=model,
            limits=self._limits,
            marks=MarkWriter(
                marks,
                finish_device_work=model.finish_device_work,
                last_number=model.last_mark_number,
            ),
            release=self._release,
        )
        self._duty_cycle = DutyCycle(now=monotonic())
        self._idle_beats = 0
        # Guards what other threads touch: the orders, the inbox and the cancel wishes.
        self._news = Condition()
        self._orders: dict[AttemptKey, Order] = {}
        self._inbox: list[Order] = []
        self._cancel_wishes: set[AttemptKey] = set()
        self._closing = Event()
        self._ready: Future[None] = Future()
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    # ------------------------------------------------------------ what other threads call

    @property
    def step_counter(self) -> int:
        """Moves with every piece of work, and once a second while there is none.

        Where it stands still, the device hangs.
        """
        return self._painter.pieces_of_work + self._idle_beats

    @property
    def out_of_memory_count(self) -> int:
        """How often the device had no memory left since the start."""
        return self._limits.out_of_memory_count

    def start(self) -> None:
        """Start the thread and wait until it is warm; raises what keeps it from drawing."""
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """Stop after the step in progress; images not yet drawn fail with EngineClosedError."""
        with self._news:
            self._closing.set()
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def submit(
        self,
        key: AttemptKey,
        spec: ImageSpec,
        *,
        interactive: bool,
        alone: bool,
        progress: ProgressCallback,
        previews: bool = False,
    ) -> Future[Drawn]:
        """Draw one image; the future resolves when its pixels have left the device.

        The future raises ImageFailedError, ImageCancelledError or EngineClosedError.
        """
        order = Order(
            key=key,
            spec=spec,
            interactive=interactive,
            alone=alone,
            progress=progress,
            previews=previews,
        )
        # From here on only the engine resolves it: Future.cancel() answers False.
        order.future.set_running_or_notify_cancel()
        with self._news:
            if key in self._orders:
                raise ValueError(f"{key} is being drawn already")
            if self._closing.is_set():
                order.future.set_exception(EngineClosedError("the engine is closed"))
                return order.future
            self._orders[key] = order
            self._inbox.append(order)
            self._news.notify_all()
        return order.future

    def cancel(self, key: AttemptKey) -> None:
        """Wish that the image be dropped at the next step boundary; unknown ones are ignored."""
        with self._news:
            if key in self._orders:
                self._cancel_wishes.add(key)
                self._news.notify_all()

    def set_duty_cycle(self, fraction: float) -> None:
        """Work only this fraction of the time (0 < fraction ≤ 1) so that the device stays cool."""
        assert 0.0 < fraction <= 1.0
        self._duty_cycle.fraction = fraction

    # ------------------------------------------------------------ the engine thread

    def _run(self) -> None:
        try:
            if self._threads is not None:
                torch.set_num_threads(self._threads)
            with torch.inference_mode():
                self._painter.warm_up()
                self._ready.set_result(None)
                while self._take_news():
                    self._draw_one_step()
        except Exception as error:
            log.exception("engine_stopped")
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self._fail_what_is_left()

    def _take_news(self) -> bool:
        """Step boundary: new orders in, cancelled ones out. False when the engine closes."""
        with self._news:
            while not (self._closing.is_set() or self._has_news() or self._has_work()):
                self._news.wait(IDLE_SECONDS)
                self._idle_beats += 1
            new, self._inbox = self._inbox, []
            cancelled, self._cancel_wishes = self._cancel_wishes, set()
        for order in new:
            self._accept(order)
        for key in cancelled:
            if order := self._release(key):
                order.confirm_cancel()
        return not self._closing.is_set()

    def _has_news(self) -> bool:
        return bool(self._inbox or self._cancel_wishes)

    def _has_work(self) -> bool:
        return bool(self._admission.in_flight or self._admission.waiting)

    def _accept(self, order: Order) -> None:
        if reason := self._model.objection(order.spec):
            self._painter.fail(order, FailureReason.INVALID_SPEC, reason)
            return
        if self._limits.images_max(compatibility_key(order.spec)) == 0:
            self._painter.fail(order, FailureReason.OUT_OF_MEMORY, too_large(order.spec))
            return
        entrant = Entrant(
            key=order.key,
            group=compatibility_key(order.spec),
            interactive=order.interactive,
            alone=order.alone,
        )
        self._admission.add(entrant)

    def _draw_one_step(self) -> None:
        step = self._admission.next_step()
        if step is None:
            return
        began_seconds = monotonic()
        for key in step.admitted:
            self._painter.begin(self._orders[key])
        orders = [self._orders[key] for key in step.taking_part if key in self._orders]
        if orders:
            self._painter.step(orders)
        ended_seconds = monotonic()
        self._rest(self._duty_cycle.rest_after(ended_seconds - began_seconds, now=ended_seconds))

    def _release(self, key: AttemptKey) -> Order | None:
        """Take the image out of the engine, so that its slot is free before anybody is told."""
        self._admission.remove(key)
        with self._news:
            self._cancel_wishes.discard(key)
            return self._orders.pop(key, None)

    def _rest(self, seconds: float) -> None:
        """Leave the device alone; a rest is no stall, so the step counter moves on."""
        while seconds > 0 and not self._closing.wait(min(seconds, IDLE_SECONDS)):
            seconds -= IDLE_SECONDS
            self._idle_beats += 1

    def _fail_what_is_left(self) -> None:
        with self._news:
            self._closing.set()
            left, self._orders, self._inbox = list(self._orders.values()), {}, []
        for order in left:
            order.future.set_exception(EngineClosedError("the engine was closed"))
