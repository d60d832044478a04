"""Table A: an image's states, who may move it, and what becomes of its hold.

The code that moves images, the documentation and the tests all read this one table.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ImageState(StrEnum):
    """Where an image is."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    QUARANTINED = "QUARANTINED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"
    CANCELLED = "CANCELLED"


class JobState(StrEnum):
    """Where a job is; follows from its images' states and the cancel wish."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    AWAITING_REVIEW = "AWAITING_REVIEW"
    SUCCEEDED = "SUCCEEDED"
    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class AttemptOutcome(StrEnum):
    """How an attempt ended; decides where its joules are booked."""

    SUCCEEDED = "SUCCEEDED"
    QUARANTINED = "QUARANTINED"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"
    CANCELLED = "CANCELLED"
    HANDED_BACK = "HANDED_BACK"
    LOST = "LOST"
    EXPIRED = "EXPIRED"


class Actor(StrEnum):
    """Which process moves an image."""

    GATEWAY = "GATEWAY"
    RECORDER = "RECORDER"
    HOUSEKEEPER = "HOUSEKEEPER"


class HoldEffect(StrEnum):
    """What a move does with the money held for the image."""

    NONE = "NONE"
    PENDING = "PENDING"
    STAYS = "STAYS"
    CAPTURE = "CAPTURE"
    VOID = "VOID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One line of table A."""

    from_state: ImageState | None
    to_state: ImageState
    actors: frozenset[Actor]
    hold: HoldEffect
    when: str


def _line(
    from_state: ImageState | None,
    to_state: ImageState,
    *actors: Actor,
    hold: HoldEffect,
    when: str,
) -> Transition:
    return Transition(
        from_state=from_state, to_state=to_state, actors=frozenset(actors), hold=hold, when=when
    )


_S, _A, _H = ImageState, Actor, HoldEffect

TRANSITIONS: Final = (
    _line(None, _S.QUEUED, _A.GATEWAY, hold=_H.PENDING, when="accepted"),
    _line(None, _S.BLOCKED, _A.GATEWAY, hold=_H.NONE, when="prompt refused by policy"),
    _line(_S.QUEUED, _S.RUNNING, _A.RECORDER, hold=_H.STAYS, when="claimed"),
    _line(
        _S.RUNNING,
        _S.QUEUED,
        _A.RECORDER,
        _A.HOUSEKEEPER,
        hold=_H.STAYS,
        when="handed back while draining, re-drawn, or its session's lease lost",
    ),
    _line(
        _S.RUNNING,
        _S.FAILED,
        _A.RECORDER,
        _A.HOUSEKEEPER,
        hold=_H.VOID,
        when="the engine gave a reason, the third attempt was lost, or the deadline passed",
    ),
    _line(_S.QUEUED, _S.FAILED, _A.HOUSEKEEPER, hold=_H.VOID, when="deadline passed"),
    _line(
        _S.QUEUED,
        _S.CANCELLED,
        _A.GATEWAY,
        _A.HOUSEKEEPER,
        hold=_H.VOID,
        when="cancelled, at once; by the housekeeper when nobody waits for it any more",
    ),
    _line(
        _S.RUNNING,
        _S.CANCELLED,
        _A.RECORDER,
        _A.HOUSEKEEPER,
        hold=_H.VOID,
        when="the worker confirms a cancel wish, hands back or is lost after it",
    ),
    _line(_S.QUARANTINED, _S.CANCELLED, _A.GATEWAY, hold=_H.VOID, when="cancelled in review"),
    _line(
        _S.RUNNING,
        _S.SUCCEEDED,
        _A.RECORDER,
        hold=_H.CAPTURE,
        when="picture safe in the spool, energy joined, inspected",
    ),
    _line(_S.RUNNING, _S.BLOCKED, _A.RECORDER, hold=_H.VOID, when="picture check"),
    _line(_S.RUNNING, _S.QUARANTINED, _A.RECORDER, hold=_H.STAYS, when="quality thresholds"),
    _line(_S.QUARANTINED, _S.SUCCEEDED, _A.GATEWAY, hold=_H.CAPTURE, when="released by review"),
    _line(
        _S.QUARANTINED,
        _S.FAILED,
        _A.GATEWAY,
        _A.HOUSEKEEPER,
        hold=_H.VOID,
        when="rejected, or review time over",
    ),
)

TERMINAL_IMAGE_STATES: Final = frozenset(
    {ImageState.SUCCEEDED, ImageState.FAILED, ImageState.BLOCKED, ImageState.CANCELLED}
)
TERMINAL_JOB_STATES: Final = frozenset(
    {JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.CANCELLED, JobState.FAILED}
)

# Only an attempt that began a step counts as lost; the third ends the image.
LOST_ATTEMPTS_MAX: Final = 3


def transition(from_state: ImageState | None, to_state: ImageState, *, actor: Actor) -> Transition:
    """Find the line of the table that allows a move; moving without one is a mistake of ours."""
    for line in TRANSITIONS:
        if line.from_state == from_state and line.to_state == to_state and actor in line.actors:
            return line
    raise AssertionError(f"{actor} may not move an image from {from_state} to {to_state}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """How many of a job's images are in each state."""

    queued_count: int
    running_count: int
    quarantined_count: int
    succeeded_count: int
    failed_count: int
    blocked_count: int
    cancelled_count: int

    @property
    def image_count(self) -> int:
        """All images of the job."""
        return self.open_count + self.succeeded_count + self.unsuccessful_count

    @property
    def open_count(self) -> int:
        """Images that have not ended."""
        return self.queued_count + self.running_count + self.quarantined_count

    @property
    def unsuccessful_count(self) -> int:
        """Images that ended without a picture."""
        return self.failed_count + self.blocked_count + self.cancelled_count


def job_state(counters: Counters, *, started: bool, cancel_wished: bool) -> JobState:
    """Derive a job's state from its images."""
    if counters.open_count == 0:
        return _terminal_job_state(counters, cancel_wished=cancel_wished)
    if cancel_wished:
        return JobState.CANCELLING
    if counters.queued_count == counters.running_count == 0:
        return JobState.AWAITING_REVIEW
    return JobState.RUNNING if started else JobState.QUEUED


def _terminal_job_state(counters: Counters, *, cancel_wished: bool) -> JobState:
    if counters.unsuccessful_count == 0:
        return JobState.SUCCEEDED
    if counters.succeeded_count > 0:
        return JobState.PARTIALLY_SUCCEEDED
    return JobState.CANCELLED if cancel_wished else JobState.FAILED
