"""What passes between the worker's threads: images held, heartbeats, the truth, results."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.engine.image_spec import AttemptKey, ImageSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAttempt:
    """An attempt that was handed to this worker; the token is what only its holder knows."""

    image_id: str
    attempt: int
    claim_token: str

    @property
    def key(self) -> AttemptKey:
        """What the engine and the meter know the attempt by."""
        return AttemptKey(self.image_id, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedWork:
    """An image to draw; ``alone``: nothing else may run beside it."""

    held: HeldAttempt
    spec: ImageSpec
    output_format: str
    output_quality: int
    interactive: bool
    alone: bool
    previews: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldProgress:
    """How far a held attempt is; ``step_count`` is 0 until its first step begins."""

    held: HeldAttempt
    step: int
    step_count: int
    preview: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One heartbeat; ``progress`` names every attempt that is held."""

    ready: bool
    batch_slots_free: int
    interactive_slots_free: int
    waiting_tokens: int
    engine_step_counter: int
    # Messages in the queue that were no tokens, since the start.
    garbage_tokens: int
    progress: Sequence[HeldProgress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All that the recorder knows and the worker must; repeated with every heartbeat's answer."""

    cancel_wishes: frozenset[AttemptKey]
    invalid_attempts: frozenset[AttemptKey]
    interactive_images_waiting: int
    alone_images_waiting: int
    alone_image_overdue: bool
    drain: bool
    duty_cycle: float


class Outcome(StrEnum):
    """How an attempt ended here."""

    PICTURE = "PICTURE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    HANDED_BACK = "HANDED_BACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the recorder is told at an attempt's end; ``picture`` is empty unless there is one.

    ``batch_shares`` counts steps by the number of images in their forward.
    """

    held: HeldAttempt
    outcome: Outcome
    began_step: bool
    failure_reason: str = ""
    failure_message: str = ""
    last_mark_number: int = 0
    batch_shares: Sequence[tuple[int, int]] = ()
    gpu_seconds: float = 0.0
    queue_seconds: float = 0.0
    picture: bytes = b""
    content_type: str = ""
