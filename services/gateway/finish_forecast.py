"""How much lies before a job of one model and when its last image is expected. Pure.

Work is counted in seconds of the GPU, as measured on the tenant's latest images of the same kind;
an image's share of a batch's step is its own, so the work of many adds up whatever runs together.
The pace says how long the tenant's workers really took for such a second: several of them, pauses
between steps and the way to the recorder are in it, waiting for work is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final

from metering.price_document import Tier
from tenants.ids import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What decides how long an image takes; sizes in pixels."""

    model: str
    width: int
    height: int
    num_inference_steps: int

    @property
    def pixel_steps(self) -> int:
        """The measure by which kinds are compared when one was never measured."""
        return self.width * self.height * self.num_inference_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A finished drawing: when it ran, and its share of the GPU's time."""

    kind: Kind
    tier: Tier
    claim_time: datetime
    end_time: datetime
    gpu_seconds: float
    # Between its claim and its first step.
    queue_seconds: float = 0.0
    # Steps by the number of images in their forward: (number, steps).
    batch_shares: Sequence[tuple[int, int]] = ()

    @property
    def shared_steps(self) -> float:
        """Its steps, each divided by how many images shared it."""
        return sum(steps / images for images, steps in self.batch_shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A job with images that wait; ``served``: it had a turn before."""

    job_id: JobId
    tier: Tier
    queued_count: int
    # GPU seconds of one of its waiting images, on average.
    image_seconds: float
    served: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningImage:
    """An image being drawn, with the GPU seconds it still needs."""

    job_id: JobId
    tier: Tier
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a tenant's workers of one model have before them, in the order they will take it."""

    waiting: Sequence[WaitingJob]
    running: Sequence[RunningImage]
    # Seconds that pass for each second of GPU time; None when nothing was measured yet.
    pace: float | None
    # What an interactive image needs besides its GPU seconds, in which all else waits for it: being
    # encoded, written safely, booked. None when none was measured.
    interactive_extra_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``queue_position`` images are drawn before the job's next; no time when nothing is known."""

    queue_position: int
    finish_time: datetime | None


NOTHING_KNOWN: Final = Forecast(queue_position=0, finish_time=None)


def forecast(backlog: Backlog, job_id: JobId, *, now: datetime) -> Forecast:
    """Tell what lies before a job that has not ended."""
    index = next(
        (index for index, other in enumerate(backlog.waiting) if other.job_id == job_id), None
    )
    if index is None:
        return Forecast(
            queue_position=0,
            finish_time=_time_of(
                backlog,
                _tier_of_running(backlog, job_id),
                _running_work(backlog, job_id),
                now=now,
            ),
        )
    job = backlog.waiting[index]
    ahead, behind = backlog.waiting[:index], backlog.waiting[index + 1 :]
    return Forecast(
        queue_position=sum(other.queued_count if _overtakes(other, job) else 1 for other in ahead),
        finish_time=_time_of(
            backlog, job.tier, _work(backlog, job, ahead=ahead, behind=behind), now=now
        ),
    )


def forecast_of_new(
    backlog: Backlog, *, tier: Tier, image_count: int, image_seconds: float, now: datetime
) -> Forecast:
    """Tell what would lie before a job that comes now."""
    new = WaitingJob(
        job_id=JobId(""), tier=tier, queued_count=image_count, image_seconds=image_seconds
    )
    # Jobs that had no turn yet go first, in the order in which they came.
    before = [
        other
        for other in backlog.waiting
        if _overtakes(other, new) or (other.tier is tier and not other.served)
    ]
    after = [other for other in backlog.waiting if other not in before]
    return forecast(replace(backlog, waiting=[*before, new, *after]), new.job_id, now=now)


def measured_pace(drawings: Sequence[Drawing]) -> float | None:
    """Return the seconds that passed for each GPU second of these drawings."""
    gpu_seconds = sum(drawing.gpu_seconds for drawing in drawings)
    return busy_seconds(drawings) / gpu_seconds if gpu_seconds else None


def interactive_extra_seconds(drawings: Sequence[Drawing]) -> float | None:
    """Return the seconds in which interactive drawings neither drew nor waited: their median."""
    extras = [
        (drawing.end_time - drawing.claim_time).total_seconds()
        - drawing.queue_seconds
        - drawing.gpu_seconds
        for drawing in drawings
        if drawing.tier is Tier.INTERACTIVE
    ]
    return max(median(extras), 0.0) if extras else None


def measured_seconds(
    drawings: Sequence[Drawing], *, step_seconds: float = 0.0
) -> Mapping[Kind, float]:
    """Return the GPU seconds of an image of each kind that was drawn, on average.

    With ``step_seconds`` it is told what each would have weighed with every step to itself.
    """
    by_kind: dict[Kind, list[float]] = {}
    for drawing in drawings:
        unshared = sum(steps for _, steps in drawing.batch_shares) - drawing.shared_steps
        by_kind.setdefault(drawing.kind, []).append(drawing.gpu_seconds + step_seconds * unshared)
    return {kind: sum(seconds) / len(seconds) for kind, seconds in by_kind.items()}


def measured_step_seconds(drawings: Sequence[Drawing]) -> float:
    """Return the GPU seconds of a step that do not depend on how many images share it.

    A least-squares slope within the kinds: images of one kind weigh less the more company they had.
    Zero while they all had the same.
    """
    by_kind: dict[Kind, list[Drawing]] = {}
    for drawing in drawings:
        by_kind.setdefault(drawing.kind, []).append(drawing)
    covariance = variance = 0.0
    for alike in by_kind.values():
        mean_steps = sum(drawing.shared_steps for drawing in alike) / len(alike)
        mean_seconds = sum(drawing.gpu_seconds for drawing in alike) / len(alike)
        for drawing in alike:
            steps = drawing.shared_steps - mean_steps
            covariance += steps * (drawing.gpu_seconds - mean_seconds)
            variance += steps * steps
    return max(covariance / variance, 0.0) if variance else 0.0


def expected_seconds(kind: Kind, measured: Mapping[Kind, float]) -> float:
    """Return the GPU seconds of an image, from its own kind or scaled from the nearest one.

    The nearest is one of the same size if there is any, because a step's time does not grow evenly
    with the size. Zero when nothing was measured; then the pace is unknown too.
    """
    if kind in measured:
        return measured[kind]
    same_size = [known for known in measured if _size(known) == _size(kind)]
    nearest = min(
        same_size or measured,
        key=lambda known: abs(known.pixel_steps - kind.pixel_steps),
        default=None,
    )
    if nearest is None:
        return 0.0
    return measured[nearest] * kind.pixel_steps / nearest.pixel_steps


def busy_seconds(drawings: Sequence[Drawing]) -> float:
    """Return how long at least one of the drawings ran."""
    seconds = 0.0
    covered_until = datetime.min.replace(tzinfo=UTC)
    for drawing in sorted(drawings, key=lambda drawing: drawing.claim_time):
        start = max(drawing.claim_time, covered_until)
        seconds += max((drawing.end_time - start).total_seconds(), 0.0)
        covered_until = max(covered_until, drawing.end_time)
    return seconds


def _work(
    backlog: Backlog,
    job: WaitingJob,
    *,
    ahead: Sequence[WaitingJob],
    behind: Sequence[WaitingJob],
) -> float:
    """GPU seconds until a job's last waiting image is drawn."""
    before = sum(_turns_before_the_last(other, job, is_ahead=True) for other in ahead)
    before += sum(_turns_before_the_last(other, job, is_ahead=False) for other in behind)
    running = sum(image.seconds_left for image in _served_beside(backlog, job.tier))
    return running + before + job.queued_count * job.image_seconds + _company(backlog, job)


def _turns_before_the_last(other: WaitingJob, job: WaitingJob, *, is_ahead: bool) -> float:
    """GPU seconds of another job that go before this job's last image: a tier's jobs take turns."""
    if _overtakes(other, job):
        return other.queued_count * other.image_seconds
    if _overtakes(job, other):
        return 0.0
    turns = job.queued_count if is_ahead else job.queued_count - 1
    return min(other.queued_count, turns) * other.image_seconds


def _company(backlog: Backlog, job: WaitingJob) -> float:
    """GPU seconds of images that begin after the job's last one and are drawn beside it.

    Where others still wait, every slot is taken by an image that is, on average, half drawn when
    the job's last one ends.
    """
    waiting = sum(other.queued_count for other in backlog.waiting)
    rivals = waiting - job.queued_count
    if rivals == 0 or job.tier is Tier.INTERACTIVE:
        return 0.0
    beside = min(max(len(backlog.running) - 1, 0), rivals)
    return beside * job.image_seconds / 2


def _running_work(backlog: Backlog, job_id: JobId) -> float:
    """GPU seconds until the last running image of a job is drawn: all move on step by step."""
    own = [image for image in backlog.running if image.job_id == job_id]
    if not own:
        return 0.0
    longest = max(image.seconds_left for image in own)
    return sum(
        # A slot that becomes free meanwhile is taken by who waits.
        longest if backlog.waiting else min(image.seconds_left, longest)
        for image in _served_beside(backlog, own[0].tier)
    )


def _served_beside(backlog: Backlog, tier: Tier) -> Sequence[RunningImage]:
    """The running images that a job of a tier shares the GPU with: batches wait for urgent ones."""
    if tier is not Tier.INTERACTIVE:
        return backlog.running
    return [image for image in backlog.running if image.tier is Tier.INTERACTIVE]


def _overtakes(one: WaitingJob, other: WaitingJob) -> bool:
    return one.tier is Tier.INTERACTIVE and other.tier is not Tier.INTERACTIVE


def _tier_of_running(backlog: Backlog, job_id: JobId) -> Tier:
    tiers = {image.tier for image in backlog.running if image.job_id == job_id}
    return Tier.INTERACTIVE if Tier.INTERACTIVE in tiers else Tier.BATCH


def _time_of(backlog: Backlog, tier: Tier, gpu_seconds: float, *, now: datetime) -> datetime | None:
    extra_seconds = backlog.interactive_extra_seconds
    if tier is Tier.INTERACTIVE and extra_seconds is not None:
        return now + timedelta(seconds=gpu_seconds + extra_seconds)
    if backlog.pace is None:
        return None
    return now + timedelta(seconds=backlog.pace * gpu_seconds)


def _size(kind: Kind) -> tuple[str, int, int]:
    return kind.model, kind.width, kind.height
