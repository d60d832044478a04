"""One image inside the engine: what was asked, how far it is, what it took so far."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from services.engine.denoising import Drawing
from services.engine.drawn import Drawn, Progress, ProgressCallback
from services.engine.errors import FailureReason, ImageCancelledError, ImageFailedError
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.preview import PreviewProjection

PREVIEW_SECONDS: Final = 0.5

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Order:
    """Everything about one submitted image; only the engine thread changes it."""

    key: AttemptKey
    spec: ImageSpec
    interactive: bool
    alone: bool
    progress: ProgressCallback
    previews: bool
    future: Future[Drawn] = field(default_factory=Future[Drawn])
    submit_seconds: float = field(default_factory=monotonic)
    queue_seconds: float = 0.0
    gpu_seconds: float = 0.0
    batch_sizes: list[int] = field(default_factory=list[int])
    began_step: bool = False
    drawing: Drawing | None = None
    preview_seconds: float = 0.0

    def deliver(self, pixels: NDArray[np.uint8], *, last_mark_number: int) -> None:
        drawn = Drawn(
            pixels=pixels,
            batch_sizes=tuple(self.batch_sizes),
            gpu_seconds=self.gpu_seconds,
            queue_seconds=self.queue_seconds,
            began_step=self.began_step,
            last_mark_number=last_mark_number,
        )
        self.future.set_result(drawn)

    def fail(self, reason: FailureReason, message: str) -> None:
        error = ImageFailedError(reason, message, began_step=self.began_step)
        self.future.set_exception(error)

    def confirm_cancel(self) -> None:
        self.future.set_exception(ImageCancelledError(began_step=self.began_step))

    def report_progress(self, projection: PreviewProjection) -> None:
        """Tell the submitter; whatever it does wrong is not the image's fault."""
        assert self.drawing is not None
        preview = None
        if self.previews and monotonic() - self.preview_seconds >= PREVIEW_SECONDS:
            self.preview_seconds = monotonic()
            preview = projection.preview(self.drawing.latents)
        self._tell(self.drawing.step_index, preview)

    def begin_step(self) -> None:
        """A step of it begins; the first is told, since from then on the attempt counts."""
        if not self.began_step:
            self.began_step = True
            self._tell(0, None)

    def _tell(self, step: int, preview: NDArray[np.uint8] | None) -> None:
        progress = Progress(
            key=self.key,
            step=step,
            num_inference_steps=self.spec.num_inference_steps,
            preview=preview,
        )
        try:
            self.progress(progress)
        except Exception:
            log.exception("progress_callback_failed", image_id=self.key.image_id)
