"""Is what a worker says of its attempt possible at all? It draws strangers' prompts and may lie."""

from typing import Final

from services.jobs.picture_store import ExpectedPicture
from services.recorder.errors import MessageInvalidError
from services.recorder.finished_attempt import FinishedAttempt

# The worker's seconds and the database's are of two clocks, and a claim takes time to arrive.
_CLOCK_SECONDS: Final = 2.0


def check_claim(attempt: FinishedAttempt, expected: ExpectedPicture) -> None:
    """Compare with what the claim was given to; what is charged by time cannot exceed it.

    Raises:
        MessageInvalidError: another session or device drew it, or longer than since the claim.
    """
    if (attempt.session_id, attempt.gpu_id) != (expected.session_id, expected.gpu_id):
        raise MessageInvalidError("attempt: it was given to another session or device")
    # Each by itself: prompts are encoded before the first step, so the two may overlap.
    longest_seconds = max(attempt.gpu_seconds, attempt.queue_seconds)
    if longest_seconds > expected.seconds_since_claim + _CLOCK_SECONDS:
        raise MessageInvalidError("gpu_seconds, queue_seconds: more than since the claim")
