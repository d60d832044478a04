"""Whatever happens to images in whatever order, the engine loses, doubles and starves none."""

from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.engine.admission import OVERTAKEN_STEPS_MAX
from services.engine.drawn import Drawn
from services.engine.errors import FailureReason, ImageCancelledError, ImageFailedError
from services.engine.image_spec import AttemptKey, ImageSpec
from tests.unit.services.engine.boundaries import SPEC, SteppedEngine
from tests.unit.services.engine.fake_model import OVERSIZED_SEED, POISONOUS_SEED, FakeModel

STEPS_MAX = 5
BATCH_SLOTS = 3
FAILURES = {
    POISONOUS_SEED: FailureReason.STEP_FAILED,
    OVERSIZED_SEED: FailureReason.OUT_OF_MEMORY,
}


@dataclass(slots=True, kw_only=True)
class Followed:
    """An image as its submitter sees it."""

    spec: ImageSpec
    future: Future[Drawn]
    boundaries_left: int | None
    """Until its deadline; None: it has none."""
    cancel_wished: bool = False


class EngineMachine(RuleBasedStateMachine):
    """Submits, cancels, lets deadlines pass, takes memory away, and steps."""

    def __init__(self) -> None:
        super().__init__()
        self.model = FakeModel()
        self.stepped = SteppedEngine(self.model, batch_slots=BATCH_SLOTS)
        self.names = map(str, count())
        self.images: dict[str, Followed] = {}

    @rule(
        size=st.sampled_from((256, 512)),
        guidance=st.sampled_from((1.0, 4.0)),
        seed=st.sampled_from((1, 1, 1, 1, POISONOUS_SEED, OVERSIZED_SEED)),
        steps=st.integers(1, STEPS_MAX),
        interactive=st.booleans(),
        alone=st.integers(0, 7).map(lambda number: number == 0),
        deadline=st.none() | st.integers(1, 10),
        copies=st.integers(1, 3),
    )
    def submit(
        self,
        *,
        size: int,
        guidance: float,
        seed: int,
        steps: int,
        interactive: bool,
        alone: bool,
        deadline: int | None,
        copies: int,
    ) -> None:
        spec = replace(
            SPEC, width=size, guidance_scale=guidance, seed=seed, num_inference_steps=steps
        )
        for _ in range(copies):
            name = next(self.names)
            future = self.stepped.submit(name, spec, interactive=interactive, alone=alone)
            self.images[name] = Followed(spec=spec, future=future, boundaries_left=deadline)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._wish_cancelled(data.draw(st.sampled_from(sorted(self.images))))

    @rule(images_max=st.integers(1, 4))
    def memory_changes(self, images_max: int) -> None:
        self.model.images_max = images_max

    @rule(boundaries=st.integers(1, 8))
    def step(self, boundaries: int) -> None:
        for _ in range(boundaries):
            self._step_once()

    def _wish_cancelled(self, name: str) -> None:
        self.stepped.engine.cancel(AttemptKey(name, 1))
        self.images[name].cancel_wished = True

    def _step_once(self) -> None:
        for name, image in self.images.items():
            if image.boundaries_left is not None:
                image.boundaries_left -= 1
                if image.boundaries_left == 0:
                    # The housekeeper fails it, and the worker is told so: to the engine, a cancel.
                    self._wish_cancelled(name)
        if self.stepped.has_work:
            self.stepped.boundary()
        for name in [name for name, image in self.images.items() if image.cancel_wished]:
            assert self.images[name].future.done(), "a cancel takes one boundary"
        self._settle()

    def _settle(self) -> None:
        for name in [name for name, image in self.images.items() if image.future.done()]:
            check_end(self.images.pop(name))

    @invariant()
    def nobody_is_lost(self) -> None:
        assert self.stepped.images == set(self.images)

    def teardown(self) -> None:
        """Without new arrivals everything comes to its end in a bounded number of boundaries."""
        for _ in range(STEPS_MAX * len(self.images) * (1 + OVERTAKEN_STEPS_MAX) + 1):
            self._step_once()
        assert not self.images, "nobody starves"


def check_end(image: Followed) -> None:
    """It ended as it should: a future that was resolved twice would have raised in the engine."""
    error = image.future.exception(0)
    if error is None:
        drawn = image.future.result(0)
        assert image.spec.seed == 1
        assert int(drawn.pixels.max()) == len(drawn.batch_sizes) == image.spec.num_inference_steps
        assert max(drawn.batch_sizes) <= BATCH_SLOTS + 1
    elif isinstance(error, ImageFailedError):
        assert error.reason is FAILURES[image.spec.seed]
    else:
        assert isinstance(error, ImageCancelledError)
        assert image.cancel_wished


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(stateful_step_count=30, max_examples=60, deadline=None)
