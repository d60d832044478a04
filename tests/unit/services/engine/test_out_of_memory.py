"""Out of memory, a step is taken in halves; nobody is lost, and it is counted."""

from concurrent.futures import Future
from dataclasses import dataclass, replace

import pytest

from services.engine.batch_limits import BatchLimits, is_out_of_memory
from services.engine.drawn import Drawn
from services.engine.errors import FailureReason, ImageFailedError
from services.engine.image_spec import CompatibilityKey
from tests.unit.services.engine.boundaries import SPEC, SteppedEngine
from tests.unit.services.engine.fake_model import OVERSIZED_SEED, FakeModel

KEY = CompatibilityKey(256, 256, 77, is_guided=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFor:
    """A plan that admits so many images, whatever their size."""

    images: int

    def images_max(self, key: CompatibilityKey) -> int:
        return self.images


def failure_of(future: Future[Drawn]) -> ImageFailedError:
    error = future.exception(0)
    assert isinstance(error, ImageFailedError)
    return error


def test_the_step_is_taken_again_by_half_as_many_at_a_time() -> None:
    model = FakeModel(images_max=2)
    stepped = SteppedEngine(model)
    futures = [stepped.submit(name) for name in "abcd"]

    stepped.run()

    assert [future.result(0).batch_sizes for future in futures] == [(2, 2)] * 4
    assert model.batch_sizes == [2, 2, 2, 2]
    assert (stepped.engine.out_of_memory_count, model.freed_count) == (1, 1)


def test_the_smaller_batch_is_kept_for_later_images_of_the_same_kind() -> None:
    model = FakeModel(images_max=1)
    stepped = SteppedEngine(model)
    for name in "ab":
        stepped.submit(name)
    stepped.run()

    for name in "cd":
        stepped.submit(name)
    stepped.run()

    assert stepped.engine.out_of_memory_count == 1
    assert set(model.batch_sizes) == {1}


def test_who_has_no_room_even_alone_fails_with_that_reason_and_its_company_goes_on() -> None:
    stepped = SteppedEngine(FakeModel())
    oversized = stepped.submit("oversized", replace(SPEC, seed=OVERSIZED_SEED))
    company = [stepped.submit(name) for name in "abc"]

    stepped.run()

    assert failure_of(oversized).reason is FailureReason.OUT_OF_MEMORY
    assert "256×256 alone does not fit the device's memory" in str(failure_of(oversized))
    assert [int(future.result(0).pixels.max()) for future in company] == [2, 2, 2]


def test_one_alone_gets_a_second_try_once_memory_was_freed() -> None:
    model = FakeModel(images_max=0, images_max_once_freed=1)
    stepped = SteppedEngine(model)
    future = stepped.submit("a")

    stepped.run()

    assert future.result(0).batch_sizes == (1, 1)
    assert stepped.engine.out_of_memory_count == 1


@pytest.mark.parametrize("field", ["failed_encodings_left", "failed_decodings_left"])
def test_encoding_and_decoding_are_tried_once_more(field: str) -> None:
    model = FakeModel()
    stepped = SteppedEngine(model)
    setattr(model, field, 1)
    future = stepped.submit("a")

    stepped.run()

    assert future.result(0).pixels.max() == 2
    assert stepped.engine.out_of_memory_count == 1


@pytest.mark.parametrize("field", ["failed_encodings_left", "failed_decodings_left"])
def test_encoding_and_decoding_fail_for_want_of_memory_the_second_time(field: str) -> None:
    model = FakeModel()
    stepped = SteppedEngine(model)
    setattr(model, field, 2)
    future = stepped.submit("a")

    stepped.run()

    assert failure_of(future).reason is FailureReason.OUT_OF_MEMORY


def test_the_plan_bounds_a_step_whatever_the_slots() -> None:
    model = FakeModel()
    stepped = SteppedEngine(model, plan=PlannedFor(images=3))
    for name in "abcd":
        stepped.submit(name)

    stepped.run()

    assert model.batch_sizes == [3, 1, 3, 1]


def test_what_the_plan_has_no_room_for_fails_before_any_step() -> None:
    stepped = SteppedEngine(FakeModel(), plan=PlannedFor(images=0))
    future = stepped.submit("a")

    stepped.run()

    assert failure_of(future).reason is FailureReason.OUT_OF_MEMORY
    assert not failure_of(future).began_step


def test_the_device_is_believed_more_than_the_plan() -> None:
    limits = BatchLimits(PlannedFor(images=4))

    limits.note_out_of_memory(KEY, images=4)

    assert limits.images_max(KEY) == 2
    assert limits.images_max(KEY._replace(width=512)) == 4


def test_the_cpu_s_allocator_says_it_in_words() -> None:
    message = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"

    assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
