"""A worker ends an attempt: one transaction carries state, money, usage, event and picture.

Each function answers the same way when the same attempt is ended again, and refuses whoever comes
late: nothing changes for him.
"""

from dataclasses import dataclass, field
from typing import Final

from database.pool import Connection
from metering.usage_records import UsageOutcome
from services.jobs.charging import DrawnAttempt, charge, release_unfinished
from services.jobs.image_moves import (
    EndedAttempt,
    MovedImage,
    leave_running,
    lock_job_of,
    old_answer,
)
from services.jobs.image_states import Actor, AttemptOutcome, ImageState
from services.jobs.job_moves import Move, book_moves
from services.jobs.picture_store import NewPicture, insert_picture
from services.jobs.records import AttemptKey

_REFUSING_OUTCOMES: Final = frozenset({AttemptOutcome.LOST, AttemptOutcome.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishAnswer:
    """Whether a result was taken, and the image's state."""

    accepted: bool
    state: ImageState
    # False when it was moved before: the same answer again.
    moved_now: bool = field(default=True, compare=False)


async def succeed_image(conn: Connection, drawn: DrawnAttempt, picture: NewPicture) -> FinishAnswer:
    """RUNNING → SUCCEEDED: the picture is recorded, the hold captured, the usage written."""
    job = await lock_job_of(conn, drawn.key.image_id)
    moved = await leave_running(
        conn,
        drawn.key,
        to_state=ImageState.SUCCEEDED,
        ended=EndedAttempt(
            outcome=AttemptOutcome.SUCCEEDED,
            began_step=True,
            last_mark_number=drawn.last_mark_number,
            gpu_seconds=drawn.gpu_seconds,
            queue_seconds=drawn.queue_seconds,
        ),
    )
    if job is None or moved is None:
        return await late_answer(conn, drawn.key)
    await book_moves(conn, job, [_move(moved, ImageState.SUCCEEDED)], actor=Actor.RECORDER)
    await insert_picture(conn, moved, picture)
    await charge(conn, job, moved, drawn)
    return FinishAnswer(accepted=True, state=ImageState.SUCCEEDED)


async def fail_image(
    conn: Connection,
    key: AttemptKey,
    *,
    began_step: bool,
    failure_reason: str,
    failure_message: str,
) -> FinishAnswer:
    """RUNNING → FAILED, because the engine gave a reason; nothing is charged."""
    return await _end_uncharged(
        conn,
        key,
        to_state=ImageState.FAILED,
        ended=EndedAttempt(outcome=AttemptOutcome.FAILED, began_step=began_step),
        failure_reason=failure_reason,
        failure_message=failure_message,
    )


async def confirm_cancel(conn: Connection, key: AttemptKey, *, began_step: bool) -> FinishAnswer:
    """RUNNING → CANCELLED, because the worker has stopped; nothing is charged."""
    return await _end_uncharged(
        conn,
        key,
        to_state=ImageState.CANCELLED,
        ended=EndedAttempt(outcome=AttemptOutcome.CANCELLED, began_step=began_step),
    )


async def hand_back(conn: Connection, key: AttemptKey, *, began_step: bool) -> FinishAnswer:
    """RUNNING → QUEUED, because the worker drains; with a cancel wish it is CANCELLED instead."""
    job = await lock_job_of(conn, key.image_id)
    if job is not None and job.cancel_wish_time is not None:
        return await confirm_cancel(conn, key, began_step=began_step)
    moved = await leave_running(
        conn,
        key,
        to_state=ImageState.QUEUED,
        ended=EndedAttempt(outcome=AttemptOutcome.HANDED_BACK, began_step=began_step),
    )
    if job is None or moved is None:
        return await late_answer(conn, key)
    await book_moves(conn, job, [_move(moved, ImageState.QUEUED)], actor=Actor.RECORDER)
    return FinishAnswer(accepted=True, state=ImageState.QUEUED)


async def late_answer(conn: Connection, key: AttemptKey) -> FinishAnswer:
    """The first answer for an attempt that was ended before; a refusal for one that was lost."""
    old = await old_answer(conn, key)
    if old is None:
        # A token that never was: as little as possible is told.
        return FinishAnswer(accepted=False, state=ImageState.FAILED, moved_now=False)
    accepted = old.outcome is not None and old.outcome not in _REFUSING_OUTCOMES
    return FinishAnswer(accepted=accepted, state=old.state, moved_now=False)


async def _end_uncharged(
    conn: Connection,
    key: AttemptKey,
    *,
    to_state: ImageState,
    ended: EndedAttempt,
    failure_reason: str | None = None,
    failure_message: str | None = None,
) -> FinishAnswer:
    job = await lock_job_of(conn, key.image_id)
    moved = await leave_running(
        conn,
        key,
        to_state=to_state,
        ended=ended,
        failure_reason=failure_reason,
        failure_message=failure_message,
    )
    if job is None or moved is None:
        return await late_answer(conn, key)
    await book_moves(conn, job, [_move(moved, to_state)], actor=Actor.RECORDER)
    await release_unfinished(
        conn, job, [moved], outcome=UsageOutcome(to_state), failure_reason=failure_reason
    )
    return FinishAnswer(accepted=True, state=to_state)


def _move(moved: MovedImage, to_state: ImageState) -> Move:
    return Move(image_id=moved.image_id, from_state=ImageState.RUNNING, to_state=to_state)
