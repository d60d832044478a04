"""What the engine's tests share: specs, a sink that remembers marks, submitting."""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Event

from services.engine.drawn import Drawn, Progress
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.marks import Mark, MarkKind

SPEC = ImageSpec(
    prompt="a red mug on a blue table",
    negative_prompt="",
    width=64,
    height=64,
    num_inference_steps=6,
    guidance_scale=4.5,
    seed=7,
    max_sequence_length=16,
)
LONG_STEPS = 500


@dataclass(slots=True)
class RecordedMarks:
    """Remembers every mark."""

    begun: list[tuple[MarkKind, int]] = field(default_factory=list[tuple[MarkKind, int]])
    marks: list[Mark] = field(default_factory=list[Mark])

    def begin(self, kind: MarkKind, start_nanos: int) -> None:
        self.begun.append((kind, start_nanos))

    def end(self, mark: Mark) -> None:
        self.marks.append(mark)

    def of_kind(self, kind: MarkKind) -> list[Mark]:
        return [mark for mark in self.marks if mark.kind is kind]


@dataclass(slots=True)
class Watched:
    """A progress callback that remembers, and tells when the first step is done."""

    steps: list[Progress] = field(default_factory=list[Progress])
    has_begun: Event = field(default_factory=Event)

    def __call__(self, progress: Progress) -> None:
        self.steps.append(progress)
        if progress.step:
            self.has_begun.set()


def submit(
    engine: Engine,
    name: str,
    spec: ImageSpec = SPEC,
    *,
    interactive: bool = False,
    alone: bool = False,
    progress: Watched | None = None,
) -> Future[Drawn]:
    return engine.submit(
        AttemptKey(name, 1),
        spec,
        interactive=interactive,
        alone=alone,
        progress=progress or Watched(),
    )


def submit_long(engine: Engine, name: str, spec: ImageSpec = SPEC) -> Future[Drawn]:
    """Submit an image that will not end by itself, and wait until its first step is done."""
    watched = Watched()
    spec = replace(spec, num_inference_steps=LONG_STEPS)
    future = submit(engine, name, spec, progress=watched)
    assert watched.has_begun.wait(20)
    return future
