"""The engine draws what was asked, in any company, and one image's fate is its own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from services.engine import drawing_model
from services.engine.denoising import Drawing
from services.engine.drawing_model import DiffusionModel
from services.engine.drawn import Drawn
from services.engine.engine import Engine
from services.engine.errors import (
    EngineClosedError,
    FailureReason,
    ImageCancelledError,
    ImageFailedError,
)
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.loading import LoadedModel
from services.engine.marks import MarkKind
from tests.integration.services.engine.drawing_aids import (
    SPEC,
    RecordedMarks,
    Watched,
    submit,
    submit_long,
)

# Of 255, in float32 on a CPU: matrix products of other batch sizes add up in another order, and a
# value that lies on the border may be rounded to the next level.
COMPANY_TOLERANCE_LEVELS = 1


def difference(one: Drawn, other: Drawn) -> int:
    return int(np.abs(one.pixels.astype(int) - other.pixels.astype(int)).max())


def test_an_image_is_the_same_alone_and_in_company_of_others_at_other_steps(
    engine: Engine,
) -> None:
    alone = submit(engine, "alone").result(20)

    company = submit_long(engine, "company")
    others = [
        submit(engine, f"other-{n}", replace(SPEC, seed=n, guidance_scale=2.0 + n)) for n in (1, 2)
    ]
    accompanied = submit(engine, "accompanied").result(20)
    different = [other.result(20) for other in others]

    assert max(accompanied.batch_sizes) == 4
    assert difference(alone, accompanied) <= COMPANY_TOLERANCE_LEVELS
    assert min(difference(alone, other) for other in different) > COMPANY_TOLERANCE_LEVELS
    engine.cancel(AttemptKey("company", 1))
    with pytest.raises(ImageCancelledError):
        company.result(20)


def test_the_picture_has_the_size_asked_for_and_says_what_it_took(engine: Engine) -> None:
    drawn = submit(engine, "wide", replace(SPEC, width=128, height=48)).result(20)

    assert drawn.pixels.shape == (48, 128, 3)
    assert drawn.pixels.dtype == np.uint8
    assert drawn.batch_sizes == (1, 1, 1, 1, 1, 1)
    assert drawn.gpu_seconds > 0
    assert drawn.queue_seconds >= 0
    assert drawn.began_step


def test_an_interactive_image_of_another_size_is_drawn_while_the_batch_waits(
    engine: Engine, marks: RecordedMarks
) -> None:
    submit_long(engine, "batch")

    submit(engine, "urgent", replace(SPEC, width=96), interactive=True).result(20)

    steps = [[key.image_id for key, _ in mark.work] for mark in marks.of_kind(MarkKind.STEP)]
    first = steps.index(["urgent"])
    assert steps[first : first + 6] == [["urgent"]] * 6


def test_a_cancelled_image_ends_within_a_step_and_its_company_goes_on(engine: Engine) -> None:
    cancelled = submit_long(engine, "cancelled")
    company = submit(engine, "company")

    engine.cancel(AttemptKey("cancelled", 1))

    with pytest.raises(ImageCancelledError) as raised:
        cancelled.result(20)
    assert raised.value.began_step
    assert company.result(20).pixels.shape == (64, 64, 3)


def test_an_image_that_waits_can_be_cancelled_too(engine: Engine) -> None:
    submit_long(engine, "running")
    waiting = submit(engine, "waiting", replace(SPEC, width=96))

    engine.cancel(AttemptKey("waiting", 1))

    with pytest.raises(ImageCancelledError) as raised:
        waiting.result(20)
    assert not raised.value.began_step


def test_cancelling_what_the_engine_does_not_know_does_nothing(engine: Engine) -> None:
    engine.cancel(AttemptKey("unknown", 1))

    assert submit(engine, "a").result(20).pixels.shape == (64, 64, 3)


def test_an_image_that_makes_the_step_fail_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy_step = drawing_model.next_latents

    def step_that_chokes_on_seed_666(
        model: LoadedModel, drawings: Sequence[Drawing]
    ) -> list[torch.Tensor]:
        if any(drawing.spec.seed == 666 for drawing in drawings):
            raise RuntimeError("injected")
        return healthy_step(model, drawings)

    monkeypatch.setattr(drawing_model, "next_latents", step_that_chokes_on_seed_666)
    company = submit_long(engine, "company")
    poisonous = submit(engine, "poisonous", replace(SPEC, seed=666))

    with pytest.raises(ImageFailedError, match="injected") as raised:
        poisonous.result(20)
    assert raised.value.reason is FailureReason.STEP_FAILED
    assert raised.value.began_step
    assert not company.done()
    assert submit(engine, "next").result(20).pixels.shape == (64, 64, 3)


def test_an_image_that_leaves_the_range_of_numbers_fails_with_that_reason(
    engine: Engine,
) -> None:
    future = submit(engine, "infinite", replace(SPEC, guidance_scale=1e38))

    with pytest.raises(ImageFailedError) as raised:
        future.result(20)
    assert raised.value.reason is FailureReason.NOT_FINITE


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, width=65),
        replace(SPEC, height=4096),
        replace(SPEC, num_inference_steps=0),
        replace(SPEC, max_sequence_length=513),
        replace(SPEC, seed=-1),
    ],
)
def test_a_spec_the_model_cannot_draw_fails_before_any_step(
    engine: Engine, spec: ImageSpec
) -> None:
    future = submit(engine, "impossible", spec)

    with pytest.raises(ImageFailedError) as raised:
        future.result(20)
    assert raised.value.reason is FailureReason.INVALID_SPEC
    assert not raised.value.began_step


def test_closing_fails_what_is_not_drawn_and_refuses_what_comes_later(engine: Engine) -> None:
    running = submit_long(engine, "running")

    engine.close()

    with pytest.raises(EngineClosedError):
        running.result(20)
    with pytest.raises(EngineClosedError):
        submit(engine, "late").result(20)


def test_an_attempt_cannot_be_submitted_twice_at_a_time(engine: Engine) -> None:
    submit_long(engine, "a")

    with pytest.raises(ValueError, match="is being drawn already"):
        submit(engine, "a")


def test_the_first_steps_beginning_and_every_step_are_told_and_previews_on_request(
    engine: Engine,
) -> None:
    with_previews, without = Watched(), Watched()
    key = AttemptKey("seen", 1)
    seen = engine.submit(
        key, SPEC, interactive=False, alone=False, progress=with_previews, previews=True
    )
    submit(engine, "unseen", progress=without).result(20)
    seen.result(20)

    assert [progress.step for progress in with_previews.steps] == [0, 1, 2, 3, 4, 5, 6]
    first = with_previews.steps[1].preview
    assert first is not None
    assert first.shape == (8, 8, 3)
    assert all(progress.preview is None for progress in without.steps)


def test_a_progress_callback_that_raises_harms_nobody(engine: Engine) -> None:
    def raises(_: object) -> None:
        raise RuntimeError("injected")

    future = engine.submit(
        AttemptKey("a", 1), SPEC, interactive=False, alone=False, progress=raises
    )

    assert future.result(20).pixels.shape == (64, 64, 3)


def test_marks_are_numbered_in_order_and_do_not_overlap(
    engine: Engine, marks: RecordedMarks
) -> None:
    futures = [submit(engine, name) for name in ("a", "b")]
    drawn = [future.result(20) for future in futures]

    numbers = [mark.number for mark in marks.marks]
    assert numbers == list(range(2, 2 + len(numbers))), "the loading was number 1"
    assert marks.marks[0].kind is MarkKind.WARM_UP
    pairs = list(zip(marks.marks, marks.marks[1:], strict=False))
    assert all(one.end_nanos <= other.start_nanos for one, other in pairs)
    assert {d.last_mark_number for d in drawn} == {
        mark.number for mark in marks.of_kind(MarkKind.VAE_DECODE)
    }


def test_a_mark_names_the_work_of_each_image_that_took_part(
    engine: Engine, marks: RecordedMarks
) -> None:
    futures = [submit(engine, name) for name in ("a", "b")]
    for future in futures:
        future.result(20)

    shared = [mark for mark in marks.of_kind(MarkKind.STEP) if len(mark.work) == 2]
    assert shared
    (first, first_work), (second, second_work) = shared[0].work
    assert (first, second) == (AttemptKey("a", 1), AttemptKey("b", 1))
    assert first_work == second_work > 0


def test_a_prompt_is_encoded_once_for_many_images(engine: Engine, marks: RecordedMarks) -> None:
    for name in ("a", "b", "c"):
        submit(engine, name).result(20)

    encoded = [mark.work[0][0].image_id for mark in marks.of_kind(MarkKind.TEXT_ENCODE)]
    assert encoded == ["a", "a"], "the prompt and the negative prompt"


def test_gpu_seconds_of_a_step_are_divided_among_its_images(engine: Engine) -> None:
    long = submit_long(engine, "long")
    shared = submit(engine, "shared").result(20)

    engine.cancel(AttemptKey("long", 1))
    with pytest.raises(ImageCancelledError):
        long.result(20)
    alone = submit(engine, "alone").result(20)
    assert max(shared.batch_sizes) == 2
    assert shared.gpu_seconds < 3 * alone.gpu_seconds


def test_the_step_counter_moves_with_the_work_and_while_there_is_none(engine: Engine) -> None:
    before = engine.step_counter
    submit(engine, "a").result(20)
    after = engine.step_counter

    assert after - before >= SPEC.num_inference_steps


def test_an_image_that_must_be_alone_has_no_company(engine: Engine) -> None:
    futures = [
        submit(engine, "a"),
        submit(engine, "lonely", alone=True),
        submit(engine, "b"),
    ]

    drawn = [future.result(20) for future in futures]

    assert set(drawn[1].batch_sizes) == {1}


def test_a_duty_cycle_slows_the_engine_and_closing_does_not_wait_for_it(engine: Engine) -> None:
    engine.set_duty_cycle(0.001)
    slow = submit_long(engine, "slow")

    engine.close()

    with pytest.raises(EngineClosedError):
        slow.result(0)


def test_an_engine_that_cannot_warm_up_says_why(
    model: LoadedModel, marks: RecordedMarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no memory")

    monkeypatch.setattr(drawing_model, "decode_picture", broken)
    engine = Engine(model=DiffusionModel(model), batch_slots=1, interactive_slots=1, marks=marks)

    with pytest.raises(RuntimeError, match="no memory"):
        engine.start()
    with pytest.raises(EngineClosedError):
        submit(engine, "a").result(20)
