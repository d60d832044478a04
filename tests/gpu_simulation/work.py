"""A worker's day on a simulated card: images drawn in batches, step by step, with their marks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from metering.power import AttemptWork, SegmentKind
from metering.presence import Mark
from tenants.ids import ImageId
from tests.gpu_simulation.card import SimulatedCard


class Size(NamedTuple):
    """A picture size: what a step of one image takes, and the number of its steps."""

    name: str
    step_ms: float
    steps: int


# Between a third of a second and one second and a half alone, as on an H200.
SIZES: Final = (Size("512", 13.0, 20), Size("768", 24.0, 20), Size("1024", 50.0, 28))
_TEXT_MS: Final = 6.0
_DECODE_MS: Final = 14.0
# Batching saves a little.
_BATCH_GAIN: Final = 0.97
# So that the model, by these units, says what a card of factor 1 draws.
JOULES_PER_UNIT: Final = 0.00165


@dataclass(slots=True, kw_only=True)
class _Image:
    image_id: ImageId
    size: Size
    steps_left: int


@dataclass(slots=True)
class Day:
    """What was done, with the truth of it."""

    card: SimulatedCard
    marks: list[Mark] = field(default_factory=list[Mark])
    # Millijoules of each image: a mark's energy by the work in it.
    truth: dict[ImageId, float] = field(default_factory=dict[ImageId, float])
    # From the first mark of an image to its last.
    spans: dict[ImageId, tuple[int, int]] = field(default_factory=dict[ImageId, tuple[int, int]])

    def load(self) -> None:
        """Load a model and warm it up, as every worker does before it draws."""
        for shape, full_speed_ms, share in (("load", 1500.0, 0.1), ("warm up", 700.0, 0.9)):
            start_nanos = self.card.now_nanos
            self.card.work((shape,), full_speed_ms=full_speed_ms, share=share)
            number = len(self.marks) + 1
            self.marks.append(Mark(start_nanos, self.card.now_nanos, number, SegmentKind.LOAD))
            self.card.rest(300)

    def one_after_the_other(self, source: random.Random, *, seconds: float) -> None:
        """Draw images alone, some with a pause between them."""
        until = self.card.now_nanos + seconds * 1e9
        while self.card.now_nanos < until:
            self.draw([self._new_image(source.choice(SIZES))])
            self.card.rest(source.choice([0, 1, 2, 40, 150]))

    def in_batches(self, source: random.Random, *, seconds: float) -> None:
        """Draw up to four images of a size together; each that ends makes room for another."""
        until = self.card.now_nanos + seconds * 1e9
        while self.card.now_nanos < until:
            size = source.choice(SIZES)
            images: list[_Image] = []
            newcomers = source.randint(1, 9)
            while newcomers or images:
                while newcomers and len(images) < 4:
                    images.append(self._new_image(size))
                    self._text(images[-1])
                    newcomers -= 1
                images = self._step(images)
            self.card.rest(source.choice([0, 2, 100]))

    def draw(self, images: list[_Image]) -> None:
        for image in images:
            self._text(image)
        while images:
            images = self._step(images)

    def _new_image(self, size: Size) -> _Image:
        image_id = ImageId(f"image{len(self.truth)}")
        self.truth[image_id] = 0.0
        return _Image(image_id=image_id, size=size, steps_left=size.steps)

    def _text(self, image: _Image) -> None:
        self._mark(("text",), [image], _TEXT_MS, share=0.4)

    def _step(self, images: Sequence[_Image]) -> list[_Image]:
        """Take a step together, decode what is done; return who goes on."""
        size = images[0].size
        batch_ms = size.step_ms * len(images) * _BATCH_GAIN ** (len(images) - 1)
        self._mark(("step", size.name, len(images)), images, batch_ms)
        for image in images:
            image.steps_left -= 1
        for image in images:
            if not image.steps_left:
                self._mark(("decode", size.name), [image], _DECODE_MS, share=0.7)
        return [image for image in images if image.steps_left]

    def _mark(
        self, shape: tuple[object, ...], images: Sequence[_Image], ms: float, *, share: float = 1.0
    ) -> None:
        card = self.card
        start_nanos = card.now_nanos
        card.work(shape, full_speed_ms=ms, share=share)
        end_nanos = card.now_nanos
        units = ms / 1000 * card.physics.work_watts * share / JOULES_PER_UNIT / len(images)
        work = tuple(AttemptWork(image.image_id, 1, units) for image in images)
        self.marks.append(Mark(start_nanos, end_nanos, len(self.marks) + 1, SegmentKind.WORK, work))
        energy = card.energy_at(end_nanos) - card.energy_at(start_nanos)
        for image in images:
            self.truth[image.image_id] += energy / len(images)
            first, _ = self.spans.get(image.image_id, (start_nanos, 0))
            self.spans[image.image_id] = (first, end_nanos)
