"""The engine: one thread that owns the device and draws all images in flight, step by step."""

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Condition, Event, Thread
from time import monotonic
from typing import Final

import structlog
import torch

from services.engine.admission import Admission, Entrant
from services.engine.denoising import next_latents, start_drawing
from services.engine.drawn import Drawn, ProgressCallback
from services.engine.duty_cycle import DutyCycle
from services.engine.errors import EngineClosedError, FailureReason
from services.engine.image_spec import AttemptKey, ImageSpec, compatibility_key
from services.engine.loading import LoadedModel, device_work_finisher
from services.engine.marks import MarkKind, MarkSink, MarkWriter
from services.engine.orders import Order
from services.engine.picture_decoding import decode_picture
from services.engine.preview import PreviewProjection, fit_projection
from services.engine.spec_limits import objection
from services.engine.text_encoding import TextEmbedding, TextEncoding
from services.engine.work_units import decode_work, step_work, text_work

IDLE_SECONDS: Final = 1.0
WARM_UP_SIZE: Final = 256

log = structlog.get_logger()


class Engine:
    """Draws submitted images; every method may be called from any thread.

    `step_counter` moves with every piece of work, and once a second while there is none: where it
    stands still, the device hangs.
    """

    def __init__(
        self,
        *,
        model: LoadedModel,
        batch_slots: int,
        interactive_slots: int,
        marks: MarkSink,
        threads: int | None = None,
    ) -> None:
        self._model = model
        self._threads = threads
        self._admission = Admission(batch_slots=batch_slots, interactive_slots=interactive_slots)
        self._text = TextEncoding(model)
        self._marks = MarkWriter(
            marks,
            finish_device_work=device_work_finisher(model.device),
            last_number=model.last_mark_number,
        )
        self._projection: PreviewProjection | None = None
        self._duty_cycle = DutyCycle(now=monotonic())
        self.step_counter = 0
        # Guards what other threads touch: the orders, the inbox and the cancel wishes.
        self._news = Condition()
        self._orders: dict[AttemptKey, Order] = {}
        self._inbox: list[Order] = []
        self._cancel_wishes: set[AttemptKey] = set()
        self._closing = Event()
        self._ready: Future[None] = Future()
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    # ------------------------------------------------------------ what other threads call

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
                self._warm_up()
                self._ready.set_result(None)
                while self._take_news():
                    self._draw_one_step()
        except Exception as error:
            log.exception("engine_stopped")
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self._fail_what_is_left()

    def _warm_up(self) -> None:
        """Let libraries choose kernels and allocate before the first image waits for it."""
        spec = ImageSpec(
            prompt="",
            negative_prompt="",
            width=WARM_UP_SIZE,
            height=WARM_UP_SIZE,
            num_inference_steps=1,
            guidance_scale=2.0,
            seed=0,
            max_sequence_length=77,
        )
        with self._marks.mark(MarkKind.WARM_UP):
            nothing = self._text.encode(spec.prompt, spec.max_sequence_length)
            drawing = start_drawing(self._model, spec, positive=nothing, negative=nothing)
            decode_picture(self._model, next_latents(self._model, [drawing])[0])
            self._projection = fit_projection(self._model)

    def _take_news(self) -> bool:
        """Step boundary: new orders in, cancelled ones out. False when the engine closes."""
        with self._news:
            while not (self._closing.is_set() or self._has_news() or self._has_work()):
                self._news.wait(IDLE_SECONDS)
                self.step_counter += 1
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
        if reason := objection(self._model, order.spec):
            self._fail(order, FailureReason.INVALID_SPEC, reason)
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
            self._begin(self._orders[key])
        orders = [self._orders[key] for key in step.taking_part if key in self._orders]
        if orders:
            self._take_step(orders)
        ended_seconds = monotonic()
        self._rest(self._duty_cycle.rest_after(ended_seconds - began_seconds, now=ended_seconds))

    def _begin(self, order: Order) -> None:
        order.queue_seconds = monotonic() - order.submit_seconds
        spec = order.spec
        try:
            positive = self._embed(order, spec.prompt)
            negative = self._embed(order, spec.negative_prompt) if spec.is_guided else None
            order.drawing = start_drawing(self._model, spec, positive=positive, negative=negative)
        except Exception as error:  # noqa: BLE001  one image fails, the engine goes on
            # The error's own text is left out: it may quote the prompt.
            self._fail(order, FailureReason.TEXT_ENCODING_FAILED, type(error).__name__)

    def _embed(self, order: Order, prompt: str) -> TextEmbedding:
        length = order.spec.max_sequence_length
        if self._text.is_remembered(prompt, length):
            return self._text.encode(prompt, length)
        with self._marks.mark(MarkKind.TEXT_ENCODE, {order.key: text_work(self._model, length)}):
            embedding = self._text.encode(prompt, length)
        self.step_counter += 1
        order.gpu_seconds += self._marks.last_seconds
        return embedding

    def _take_step(self, orders: Sequence[Order]) -> None:
        try:
            latents = self._step_together(orders)
        except Exception as error:  # noqa: BLE001  one image fails, the engine goes on
            if len(orders) == 1:
                self._fail(orders[0], FailureReason.STEP_FAILED, describe(error))
                return
            # Nobody can tell whose fault it was. Alone, the culprit fails and the others go on.
            log.warning("step_failed_together", image_count=len(orders), error=describe(error))
            for order in orders:
                self._take_step([order])
            return
        for order, moved in zip(orders, latents, strict=True):
            self._advance(order, moved, batch_size=len(orders))

    def _step_together(self, orders: Sequence[Order]) -> list[torch.Tensor]:
        drawings = [order.drawing for order in orders if order.drawing is not None]
        work = {order.key: step_work(self._model, order.spec) for order in orders}
        for order in orders:
            order.begin_step()
        try:
            with self._marks.mark(MarkKind.STEP, work):
                return next_latents(self._model, drawings)
        finally:
            self.step_counter += 1
            for order in orders:
                share = work[order.key] / sum(work.values())
                order.gpu_seconds += self._marks.last_seconds * share

    def _advance(self, order: Order, latents: torch.Tensor, *, batch_size: int) -> None:
        assert order.drawing is not None
        assert self._projection is not None
        order.drawing.advance(latents)
        order.batch_sizes.append(batch_size)
        order.report_progress(self._projection)
        if order.drawing.is_finished:
            self._finish(order, latents)

    def _finish(self, order: Order, latents: torch.Tensor) -> None:
        if not bool(torch.isfinite(latents).all()):
            self._fail(order, FailureReason.NOT_FINITE, "the drawing left the range of numbers")
            return
        try:
            with self._marks.mark(
                MarkKind.VAE_DECODE, {order.key: decode_work(self._model, order.spec)}
            ):
                pixels = decode_picture(self._model, latents)
        except Exception as error:  # noqa: BLE001  one image fails, the engine goes on
            self._fail(order, FailureReason.DECODING_FAILED, describe(error))
            return
        self.step_counter += 1
        order.gpu_seconds += self._marks.last_seconds
        self._release(order.key)
        order.deliver(pixels, last_mark_number=self._marks.last_number)

    def _fail(self, order: Order, reason: FailureReason, message: str) -> None:
        self._release(order.key)
        order.fail(reason, message)

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
            self.step_counter += 1

    def _fail_what_is_left(self) -> None:
        with self._news:
            self._closing.set()
            left, self._orders, self._inbox = list(self._orders.values()), {}, []
        for order in left:
            order.future.set_exception(EngineClosedError("the engine was closed"))


def describe(error: Exception) -> str:
    """One line; torch's messages can be pages long."""
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"[:300]
