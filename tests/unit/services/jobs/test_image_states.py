from hypothesis import given
from hypothesis import strategies as st

from services.jobs.image_states import (
    TERMINAL_IMAGE_STATES,
    TERMINAL_JOB_STATES,
    TRANSITIONS,
    Counters,
    HoldEffect,
    ImageState,
    JobState,
    job_state,
)

COUNTS = st.integers(min_value=0, max_value=3)
COUNTERS = st.builds(
    Counters,
    queued_count=COUNTS,
    running_count=COUNTS,
    quarantined_count=COUNTS,
    succeeded_count=COUNTS,
    failed_count=COUNTS,
    blocked_count=COUNTS,
    cancelled_count=COUNTS,
)


def test_no_image_leaves_a_terminal_state() -> None:
    assert not [line for line in TRANSITIONS if line.from_state in TERMINAL_IMAGE_STATES]


def test_every_way_to_an_end_resolves_the_hold() -> None:
    resolved = {HoldEffect.CAPTURE, HoldEffect.VOID}

    for line in TRANSITIONS:
        ends = line.to_state in TERMINAL_IMAGE_STATES and line.from_state is not None
        assert (line.hold in resolved) == ends


def test_only_a_succeeded_image_is_charged() -> None:
    captures = {line.to_state for line in TRANSITIONS if line.hold is HoldEffect.CAPTURE}

    assert captures == {ImageState.SUCCEEDED}


@given(counters=COUNTERS, started=st.booleans(), cancel_wished=st.booleans())
def test_a_job_is_terminal_exactly_when_no_image_is_open(
    counters: Counters, started: bool, cancel_wished: bool
) -> None:
    state = job_state(counters, started=started, cancel_wished=cancel_wished)

    assert (state in TERMINAL_JOB_STATES) == (counters.open_count == 0)


@given(counters=COUNTERS)
def test_a_job_succeeded_only_if_all_its_images_did(counters: Counters) -> None:
    state = job_state(counters, started=True, cancel_wished=False)

    if state is JobState.SUCCEEDED:
        assert counters.succeeded_count == counters.image_count
