"""An engine without its thread: the test says when a step boundary comes."""

# It does what the engine's own thread does, so it must reach what that thread calls.
# pyright: reportPrivateUsage=false

from concurrent.futures import Future

from services.engine.batch_limits import BatchLimits, Plan
from services.engine.drawn import Drawn, Progress
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey, ImageSpec
from tests.unit.services.engine.fake_model import FakeModel, NoMarks

SPEC = ImageSpec(
    prompt="a",
    negative_prompt="",
    width=256,
    height=256,
    num_inference_steps=2,
    guidance_scale=4.0,
    seed=1,
    max_sequence_length=77,
)


class SteppedEngine:
    """Calls what the engine's thread would call, one boundary at a time."""

    def __init__(self, model: FakeModel, *, batch_slots: int = 4, plan: Plan | None = None) -> None:
        self.engine = Engine(
            model=model,
            batch_slots=batch_slots,
            interactive_slots=1,
            marks=NoMarks(),
            limits=BatchLimits(plan),
        )
        images_max, model.images_max = model.images_max, 1
        self.engine._painter.warm_up()
        model.images_max = images_max
        model.batch_sizes.clear()

    def submit(
        self, name: str, spec: ImageSpec = SPEC, *, interactive: bool = False, alone: bool = False
    ) -> Future[Drawn]:
        return self.engine.submit(
            AttemptKey(name, 1), spec, interactive=interactive, alone=alone, progress=ignore
        )

    def boundary(self) -> None:
        """The news are taken in, and one step is drawn."""
        assert self.engine._take_news()
        self.engine._draw_one_step()

    @property
    def has_work(self) -> bool:
        return self.engine._has_news() or self.engine._has_work()

    @property
    def images(self) -> set[str]:
        """Those the engine knows of."""
        return {key.image_id for key in self.engine._orders}

    def run(self) -> None:
        """Until nothing is left to do."""
        while self.has_work:
            self.boundary()


def ignore(progress: Progress) -> None:
    """Nobody watches."""
