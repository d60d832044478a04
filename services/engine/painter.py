"""The painter: moves images forward on the device, and lets one image's trouble stay its own."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, TypeVar

import structlog
import torch

from services.engine.batch_limits import BatchLimits, is_out_of_memory
from services.engine.drawing_model import DrawingModel
from services.engine.errors import FailureReason
from services.engine.image_spec import AttemptKey, ImageSpec, compatibility_key
from services.engine.marks import MarkKind, MarkWriter
from services.engine.orders import Order
from services.engine.preview import PreviewProjection
from services.engine.text_encoding import TextEmbedding

WARM_UP_SIZE: Final = 256

Result = TypeVar("Result")

log = structlog.get_logger()


class Painter:
    """Begins, steps and finishes orders; after each call every order has moved on or is settled."""

    def __init__(
        self,
        *,
        model: DrawingModel,
        limits: BatchLimits,
        marks: MarkWriter,
        release: Callable[[AttemptKey], object],
    ) -> None:
        self._model = model
        self._limits = limits
        self._marks = marks
        # Called before an order is settled, so that its slot is free before anybody is told.
        self._release = release
        self._projection: PreviewProjection | None = None
        self.pieces_of_work = 0

    def warm_up(self) -> None:
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
            nothing = self._model.encode(spec.prompt, spec.max_sequence_length)
            drawing = self._model.start(spec, positive=nothing, negative=nothing)
            self._model.decode(self._model.step([drawing])[0])
            self._projection = self._model.fit_projection()

    def begin(self, order: Order) -> None:
        """Encode its prompts and draw its noise."""
        order.queue_seconds = monotonic() - order.submit_seconds
        spec = order.spec
        try:
            positive = self._embed(order, spec.prompt)
            negative = self._embed(order, spec.negative_prompt) if spec.is_guided else None
            order.drawing = self._model.start(spec, positive=positive, negative=negative)
        except Exception as error:  # noqa: BLE001  one image fails, the engine goes on
            reason = reason_of(error, FailureReason.TEXT_ENCODING_FAILED)
            # The error's own text is left out: it may quote the prompt.
            self.fail(order, reason, type(error).__name__)

    def _embed(self, order: Order, prompt: str) -> TextEmbedding:
        length = order.spec.max_sequence_length
        if self._model.is_remembered(prompt, length):
            return self._model.encode(prompt, length)
        return self._work_for(
            order,
            MarkKind.TEXT_ENCODE,
            self._model.text_work(length),
            lambda: self._model.encode(prompt, length),
        )

    def _work_for(
        self, order: Order, kind: MarkKind, work: float, do: Callable[[], Result]
    ) -> Result:
        """Work for one image; out of memory, it is tried once more with all that can be freed."""
        try:
            return self._mark_for(order, kind, work, do)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block, where the failed call's frames no longer hold their tensors.
        self._limits.out_of_memory_count += 1
        log.warning("out_of_memory", kind=kind, count=self._limits.out_of_memory_count)
        self._model.free_unused_memory()
        return self._mark_for(order, kind, work, do)

    def _mark_for(
        self, order: Order, kind: MarkKind, work: float, do: Callable[[], Result]
    ) -> Result:
        try:
            with self._marks.mark(kind, {order.key: work}):
                return do()
        finally:
            self.pieces_of_work += 1
            order.gpu_seconds += self._marks.last_seconds

    def step(self, orders: Sequence[Order]) -> None:
        """Take the next step of all of them, in as many parts as memory asks for."""
        key = compatibility_key(orders[0].spec)
        left = orders
        while left:
            # Asked anew for each part: the one before may have found that memory is short.
            size = self._limits.images_max(key) or len(left)
            self._take_part(left[:size])
            left = left[size:]

    def _take_part(self, orders: Sequence[Order], *, is_second_try: bool = False) -> None:
        """One forward for all of them; whatever goes wrong, each either moves on or fails."""
        try:
            latents = self._step_together(orders)
        except Exception as error:  # noqa: BLE001  one image fails, the engine goes on
            failure, message = reason_of(error, FailureReason.STEP_FAILED), describe(error)
        else:
            for order, moved in zip(orders, latents, strict=True):
                self._advance(order, moved, batch_size=len(orders))
            return
        if failure is FailureReason.OUT_OF_MEMORY:
            self._step_with_less_memory(orders, is_second_try=is_second_try)
        elif len(orders) == 1:
            self.fail(orders[0], failure, message)
        else:
            # Nobody can tell whose fault it was. Alone, the culprit fails and the others go on.
            log.warning("step_failed_together", image_count=len(orders), error=message)
            for order in orders:
                self._take_part([order])

    def _step_with_less_memory(self, orders: Sequence[Order], *, is_second_try: bool) -> None:
        """Half as many at a time; who had the device alone gets one more try, then fails."""
        key = compatibility_key(orders[0].spec)
        self._limits.note_out_of_memory(key, images=len(orders))
        log.warning(
            "out_of_memory",
            kind=MarkKind.STEP,
            image_count=len(orders),
            images_max=self._limits.images_max(key),
            count=self._limits.out_of_memory_count,
        )
        self._model.free_unused_memory()
        if len(orders) > 1:
            self.step(orders)
        elif is_second_try:
            self.fail(orders[0], FailureReason.OUT_OF_MEMORY, too_large(orders[0].spec))
        else:
            self._take_part(orders, is_second_try=True)

    def _step_together(self, orders: Sequence[Order]) -> list[torch.Tensor]:
        drawings = [order.drawing for order in orders if order.drawing is not None]
        work = {order.key: self._model.step_work(order.spec) for order in orders}
        for order in orders:
            order.begin_step()
        try:
            with self._marks.mark(MarkKind.STEP, work):
                return self._model.step(drawings)
        finally:
            self.pieces_of_work += 1
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
            self.fail(order, FailureReason.NOT_FINITE, "the drawing left the range of numbers")
            return
        try:
            pixels = self._work_for(
                order,
                MarkKind.VAE_DECODE,
                self._model.decode_work(order.spec),
                lambda: self._model.decode(latents),
            )
        except Exception as error:  # noqa: BLE001  one image fails, the engine goes on
            self.fail(order, reason_of(error, FailureReason.DECODING_FAILED), describe(error))
            return
        self._release(order.key)
        order.deliver(pixels, last_mark_number=self._marks.last_number)

    def fail(self, order: Order, reason: FailureReason, message: str) -> None:
        self._release(order.key)
        order.fail(reason, message)


def describe(error: Exception) -> str:
    """One line; torch's messages can be pages long."""
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"[:300]


def reason_of(error: Exception, otherwise: FailureReason) -> FailureReason:
    """Want of memory is a reason of its own, wherever it shows."""
    return FailureReason.OUT_OF_MEMORY if is_out_of_memory(error) else otherwise


def too_large(spec: ImageSpec) -> str:
    """Said of an image that does not fit even alone."""
    return f"one image of {spec.width}×{spec.height} alone does not fit the device's memory"
