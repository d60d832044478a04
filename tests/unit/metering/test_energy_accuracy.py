"""How near the partition comes to a truth whose physics differ from the meter's model.

The counter refreshes every 100 ms at a phase of its own and is looked at every 50 ms; power differs
by ±15 % between shapes of equal modelled work, drifts with temperature and is noisy.
"""

import random
from dataclasses import dataclass
from statistics import mean, median, quantiles

from metering.energy import Reading, Segment
from metering.power import AttemptWork, LearnedPower, PowerModel, SegmentKind
from metering.presence import Mark
from metering.timeline import Timeline
from tenants.ids import ImageId, SessionId, TenantId

MS = 1_000_000
SESSION = SessionId("s")
POWER = PowerModel(
    idle_watts=124.0, free_watts=85.0, load_watts=200.0, joules_per_work_unit=0.00165
)
WORK_WATTS = 566.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What really happened, millisecond by millisecond."""

    marks: list[Mark]
    # Millijoules up to each millisecond.
    energy: list[float]

    def between(self, start_nanos: int, end_nanos: int) -> float:
        return self.energy[end_nanos // MS] - self.energy[start_nanos // MS]


def a_minute_of_images(source: random.Random) -> Truth:
    """Images of half a second one after the other, some with a pause between them."""
    marks: list[Mark] = []
    energy = [0.0]
    shapes = [source.uniform(0.85, 1.15) for _ in range(3)]
    noise = 0.0
    while len(energy) < 60_000:
        length_ms = source.randint(300, 800)
        pause_ms = source.choice([0, 0, 40, 150])
        shape = source.choice(shapes)
        start_ms = len(energy) - 1
        for at_ms in range(length_ms + pause_ms):
            noise = 0.9 * noise + source.gauss(0, 6)
            drift = 1 + 0.03 * len(energy) / 60_000
            busy = WORK_WATTS * shape if at_ms < length_ms else 0.0
            energy.append(energy[-1] + (124.0 + busy) * drift + noise)
        number = len(marks) + 1
        units = WORK_WATTS * length_ms / 1000 / POWER.joules_per_work_unit
        marks.append(
            Mark(
                start_ms * MS,
                (start_ms + length_ms) * MS,
                number,
                SegmentKind.WORK,
                (AttemptWork(ImageId(f"image-{number}"), 1, units),),
            )
        )
    return Truth(marks=marks, energy=energy)


def metered(truth: Truth, source: random.Random) -> tuple[list[Segment], int]:
    """Return the segments and what the counter counted."""
    phase_ms = source.randrange(100)
    poll_phase_ms = source.randrange(50)
    timeline = Timeline(
        start=Reading(0, 0),
        first=Reading(0, 0),
        wall_offset_nanos=0,
        power=LearnedPower(POWER),
    )
    timeline.arrive(SESSION, TenantId("acme"), now_nanos=0, earliest_nanos=0)
    closed: list[Segment] = []
    shown = 0
    for now_ms in range(poll_phase_ms + 100, len(truth.energy), 50):
        refreshed_ms = now_ms - (now_ms - phase_ms) % 100
        counter = int(truth.energy[max(0, refreshed_ms)])
        if counter != shown:
            shown = counter
            timeline.read(Reading((now_ms - 25) * MS, counter, 50 * MS / 12**0.5))
        ended = [mark for mark in truth.marks if mark.end_nanos <= now_ms * MS]
        running = [m for m in truth.marks if m.start_nanos < now_ms * MS < m.end_nanos]
        watermark = running[0].start_nanos if running else now_ms * MS
        timeline.hear(SESSION, ended[-3:], watermark_nanos=watermark, now_nanos=now_ms * MS)
        closed += timeline.close(now_ms * MS)
    return closed + timeline.finish(), shown


def test_images_get_what_they_took_within_a_few_percent_and_the_error_told_covers_it() -> None:
    errors: list[float] = []
    covered: list[bool] = []
    half_widths: list[float] = []
    for seed in range(4):
        source = random.Random(seed)
        truth = a_minute_of_images(source)

        segments, counted = metered(truth, source)

        assert sum(segment.millijoules for segment in segments) == counted
        shares = {share.image_id: share for segment in segments for share in segment.shares}
        for mark in truth.marks[:-1]:
            told = shares[mark.work[0].image_id]
            took = truth.between(mark.start_nanos, mark.end_nanos)
            errors.append(abs(told.millijoules - took) / took)
            covered.append(abs(told.millijoules - took) <= 1.96 * told.error_millijoules)
            half_widths.append(1.96 * told.error_millijoules / took)

    assert len(errors) > 300
    assert mean(errors) <= 0.02
    assert quantiles(errors, n=20)[-1] <= 0.05
    assert mean(covered) >= 0.95
    assert median(half_widths) <= 0.08
