from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.energy import Reading, Segment
from metering.errors import DeviceTakenError
from metering.power import AttemptWork, LearnedPower, PowerModel, SegmentKind
from metering.presence import Mark
from metering.timeline import Timeline
from tenants.ids import ImageId, SessionId, TenantId

MS = 1_000_000
HOUR_MS = 3_600_000
ACME = TenantId("acme")
ZETA = TenantId("zeta")
SESSION = SessionId("first")
POWER = PowerModel(idle_watts=100.0, free_watts=80.0, load_watts=300.0, joules_per_work_unit=1.0)


def new_timeline(*, wall_ms: int = 1_000_000, start: Reading | None = None) -> Timeline:
    return Timeline(
        start=start or Reading(0, 0),
        first=Reading(0, 0),
        wall_offset_nanos=wall_ms * MS,
        power=LearnedPower(POWER),
    )


def step(
    number: int, start_ms: int, end_ms: int, *images: str, kind: SegmentKind = SegmentKind.WORK
) -> Mark:
    """A mark at 600 W over idle."""
    units = 600.0 * (end_ms - start_ms) / 1000
    shares = tuple(AttemptWork(ImageId(image), 1, units / len(images)) for image in images)
    return Mark(start_ms * MS, end_ms * MS, number, kind, shares)


def read_evenly(timeline: Timeline, *, from_ms: int, to_ms: int, watts: int) -> None:
    """Readings each 100 ms at even power."""
    base = timeline.last_reading.millijoules
    for at_ms in range(from_ms + 100, to_ms + 1, 100):
        timeline.read(Reading(at_ms * MS, base + (at_ms - from_ms) * watts))


def arrive(
    timeline: Timeline, at_ms: int, *, tenant: TenantId = ACME, session: str = SESSION
) -> None:
    timeline.presences.arrive(
        SessionId(session), tenant, now_nanos=at_ms * MS, earliest_nanos=at_ms * MS
    )


def hear(timeline: Timeline, now_ms: int, *marks: Mark, watermark_ms: int | None = None) -> int:
    return timeline.presences.hear(
        SESSION,
        marks,
        watermark_nanos=(now_ms if watermark_ms is None else watermark_ms) * MS,
        now_nanos=now_ms * MS,
    )


def told(segments: list[Segment]) -> list[tuple[str, int, int]]:
    """Kind, length in ms, millijoules."""
    return [
        (segment.kind.value, (segment.end.nanos - segment.start.nanos) // MS, segment.millijoules)
        for segment in segments
    ]


def test_a_gpu_without_a_worker_is_free_and_its_time_is_closed_in_pieces_of_ten_seconds() -> None:
    timeline = new_timeline()
    read_evenly(timeline, from_ms=0, to_ms=11_900, watts=85)

    before = timeline.close(11_900 * MS)
    read_evenly(timeline, from_ms=11_900, to_ms=12_100, watts=85)
    after = timeline.close(12_100 * MS)

    assert before == []
    assert told(after) == [("FREE", 10_100, 10_100 * 85)]
    assert after[0].tenant_id is None


def test_work_is_closed_at_the_first_reading_behind_it() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    for at_ms, millijoules in ((100, 10_000), (200, 80_000), (300, 120_000)):
        timeline.read(Reading(at_ms * MS, millijoules))
    hear(timeline, 260, step(1, 100, 250, "cat"))
    too_early = timeline.close(300 * MS)
    hear(timeline, 310)

    closed = timeline.close(310 * MS)

    assert too_early == []
    # Of the third interval's 40 J the work's 50 ms at 700 W weigh 7 to 1 of the idle 50 ms.
    assert told(closed) == [("PARKED", 100, 10_000), ("WORK", 150, 105_000)]
    assert closed[1].last_mark_number == 1
    assert closed[1].session_id == SESSION


def test_a_long_mark_that_is_running_does_not_hold_up_what_ended_before_it() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=600, watts=700)
    hear(timeline, 500, step(1, 0, 150, "cat"), watermark_ms=150)

    closed = timeline.close(600 * MS)

    # What runs since 150 ms is taken to draw what a load draws, for no mark was closed before.
    assert told(closed) == [("WORK", 150, 119_000)]


def test_a_pause_of_the_engines_loop_belongs_to_the_step_behind_it() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=100, watts=700)
    hear(timeline, 100, step(1, 0, 48, "cat"), step(2, 52, 100, "cat"))

    closed = timeline.close(100 * MS)

    assert told(closed) == [("WORK", 100, 70_000)]


def test_a_silent_worker_loses_its_time_and_later_marks_for_it_are_refused() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    hear(timeline, 500)
    closed: list[Segment] = []
    for now_ms in range(100, 4_001, 100):
        read_evenly(timeline, from_ms=now_ms - 100, to_ms=now_ms, watts=500)
        closed += timeline.close(now_ms * MS)

    refused = hear(timeline, 4_000, step(1, 700, 3_900, "cat"), step(2, 3_950, 4_000, "cat"))
    read_evenly(timeline, from_ms=4_000, to_ms=4_100, watts=500)
    hear(timeline, 4_100)
    closed += timeline.finish()

    assert refused == 1
    assert [(kind, length) for kind, length, _ in told(closed)] == [
        ("PARKED", 500),
        ("SILENT", 3_400),
        ("PARKED", 50),
        ("WORK", 50),
        ("PARKED", 100),
    ]
    assert closed[1].tenant_id == ACME


def test_a_mark_told_again_counts_once() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=300, watts=700)
    hear(timeline, 150, step(1, 0, 100, "cat"), watermark_ms=100)
    hear(timeline, 150, step(1, 0, 100, "cat"), watermark_ms=100)
    first = timeline.close(150 * MS)
    refused = hear(timeline, 300, step(1, 0, 100, "cat"), step(2, 100, 200, "cat"))

    second = timeline.close(300 * MS)

    assert told(first) == [("WORK", 100, 70_000)]
    assert told(second) == [("WORK", 100, 70_000)]
    assert refused == 0


def test_a_killed_workers_unfinished_time_is_overhead_and_then_the_gpu_is_free() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    hear(timeline, 200, step(1, 0, 100, "cat"), watermark_ms=100)
    timeline.presences.leave(SESSION, now_nanos=400 * MS, orderly=False)
    read_evenly(timeline, from_ms=0, to_ms=14_000, watts=100)

    closed = [part for now_ms in (900, 1_800, 2_600) for part in timeline.close(now_ms * MS)]
    closed += timeline.finish()

    assert [(kind, length) for kind, length, _ in told(closed)] == [
        ("WORK", 100),
        ("SILENT", 300),
        ("FREE", 13_600),
    ]


def test_a_worker_that_says_good_bye_leaves_the_gpu_free_at_once() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=3_000, watts=100)
    hear(timeline, 500)
    timeline.presences.leave(SESSION, now_nanos=510 * MS, orderly=True)

    closed = timeline.finish()

    assert told(closed) == [("PARKED", 500, 50_000), ("FREE", 2_500, 250_000)]


def test_a_reconnected_worker_goes_on_with_its_session() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    hear(timeline, 500)
    timeline.presences.leave(SESSION, now_nanos=600 * MS, orderly=False)
    arrive(timeline, 1_500)
    refused = hear(timeline, 1_500, step(1, 550, 1_450, "cat"))
    read_evenly(timeline, from_ms=0, to_ms=2_000, watts=700)
    hear(timeline, 2_000)

    closed = timeline.close(2_000 * MS)

    assert refused == 0
    assert [(kind, length) for kind, length, _ in told(closed)] == [("PARKED", 550), ("WORK", 900)]


def test_the_stall_of_the_meter_itself_is_not_blamed_on_the_worker() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    hear(timeline, 500)
    timeline.close(600 * MS)

    refused = hear(timeline, 9_000, step(1, 700, 8_900, "cat"))

    assert refused == 0


def test_a_device_belongs_to_one_tenant_at_a_time() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)

    with pytest.raises(DeviceTakenError):
        arrive(timeline, 100, tenant=ZETA, session="second")

    timeline.presences.leave(SESSION, now_nanos=200 * MS, orderly=False)
    arrive(timeline, 300, tenant=ZETA, session="second")
    assert timeline.session is not None
    assert timeline.session.tenant_id == ZETA


def test_another_tenants_session_is_joined_by_nobody_who_knows_its_name() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)

    with pytest.raises(DeviceTakenError):
        arrive(timeline, 100, tenant=ZETA, session=SESSION)


def test_a_tenants_new_worker_takes_over_from_its_old_one() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    hear(timeline, 300)
    arrive(timeline, 400, session="second")
    read_evenly(timeline, from_ms=0, to_ms=1_000, watts=100)

    closed = timeline.finish()

    assert [(segment.kind, segment.session_id) for segment in closed] == [
        (SegmentKind.PARKED, SESSION),
        (SegmentKind.SILENT, SESSION),
        (SegmentKind.SILENT, "second"),
    ]


def test_the_time_before_the_first_reading_is_unknown() -> None:
    timeline = Timeline(
        start=Reading(-5_000 * MS, 1_000),
        first=Reading(0, 501_000),
        wall_offset_nanos=1_000_000 * MS,
        power=LearnedPower(POWER),
    )
    read_evenly(timeline, from_ms=0, to_ms=100, watts=85)

    closed = timeline.finish()

    assert told(closed) == [("UNKNOWN", 5_000, 500_000), ("FREE", 100, 8_500)]


def test_a_load_is_its_own_kind() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=1_000, watts=300)
    hear(timeline, 1_000, step(1, 0, 800, kind=SegmentKind.LOAD))

    closed = timeline.close(1_000 * MS)

    assert told(closed) == [("LOAD", 800, 240_000)]


def test_segments_end_at_utc_hours() -> None:
    timeline = new_timeline(wall_ms=HOUR_MS - 500)
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=1_200, watts=700)
    hear(timeline, 1_200, step(1, 0, 1_000, "cat"))

    closed = timeline.close(1_200 * MS)

    assert told(closed) == [("WORK", 500, 350_000), ("WORK", 500, 350_000)]
    assert [segment.hour for segment in closed] == [0, 1]
    assert [segment.last_mark_number for segment in closed] == [0, 1]


def test_overlapping_marks_are_clipped_and_nothing_is_booked_twice() -> None:
    timeline = new_timeline()
    arrive(timeline, 0)
    read_evenly(timeline, from_ms=0, to_ms=300, watts=700)
    hear(timeline, 300, step(1, 0, 200, "cat"), step(2, 100, 300, "dog"), step(3, 150, 180, "owl"))

    closed = timeline.close(300 * MS)

    assert sum(segment.millijoules for segment in closed) == 210_000
    assert [[share.image_id for share in segment.shares] for segment in closed] == [
        ["cat"],
        ["dog"],
    ]


@st.composite
def sessions_of_marks(draw: st.DrawFn) -> list[Mark]:
    """Marks of one engine thread: in order, apart or touching, of 1 ms to 3 s."""
    marks: list[Mark] = []
    position = 0
    for number in range(1, draw(st.integers(min_value=0, max_value=25)) + 1):
        position += draw(st.sampled_from([0, 1, 20, 700]))
        length = draw(st.sampled_from([1, 10, 75, 100, 101, 550, 3_000]))
        images = draw(st.lists(st.sampled_from(["cat", "dog", "owl"]), max_size=3, unique=True))
        kind = SegmentKind.WORK if images else SegmentKind.LOAD
        marks.append(step(number, position, position + length, *images, kind=kind))
        position += length
    return marks


def replay(
    marks: list[Mark],
    increments: list[int],
    messages: list[list[Mark]],
    *,
    wall_ms: int,
) -> list[Segment]:
    """Feed a session to a timeline, readings each 100 ms, and close after each of them."""
    timeline = new_timeline(wall_ms=wall_ms)
    arrive(timeline, 0)
    closed: list[Segment] = []
    energy = 0
    end_ms = (marks[-1].end_nanos // MS if marks else 0) + 1_000
    for index, now_ms in enumerate(range(100, end_ms + 100, 100)):
        energy += increments[index % len(increments)]
        timeline.read(Reading(now_ms * MS, energy))
        ended = [mark for mark in marks if mark.end_nanos <= now_ms * MS]
        running = [mark for mark in marks if mark.start_nanos < now_ms * MS < mark.end_nanos]
        due = [mark for message in messages for mark in message if mark in ended]
        assert (
            hear(
                timeline,
                now_ms,
                *due,
                watermark_ms=running[0].start_nanos // MS if running else now_ms,
            )
            == 0
        )
        closed += timeline.close(now_ms * MS)
    return closed + timeline.finish()


@settings(max_examples=60, deadline=None)
@given(
    marks=sessions_of_marks(),
    increments=st.lists(st.integers(min_value=0, max_value=80_000), min_size=1, max_size=7),
    data=st.data(),
)
def test_every_millijoule_is_booked_once_in_whatever_order_and_how_often_marks_are_told(
    marks: list[Mark], increments: list[int], data: st.DataObject
) -> None:
    wall_ms = data.draw(st.sampled_from([1_000_000, HOUR_MS - 700, HOUR_MS - 1]))
    shuffled = data.draw(st.permutations([*marks, *marks[::2]]))

    in_order = replay(marks, increments, [marks], wall_ms=wall_ms)
    at_random = replay(marks, increments, [shuffled], wall_ms=wall_ms)

    assert in_order == at_random
    assert all(before.end == after.start for before, after in pairwise(in_order))
    assert in_order[0].start == Reading(0, 0)
    count = ((marks[-1].end_nanos // MS if marks else 0) + 1_000 + 99) // 100
    counted = sum(increments[index % len(increments)] for index in range(count))
    assert sum(segment.millijoules for segment in in_order) == counted
    assert all(segment.millijoules >= 0 for segment in in_order)
    assert in_order[-1].last_mark_number == len(marks)


@settings(max_examples=60, deadline=None)
@given(marks=sessions_of_marks(), data=st.data())
def test_all_of_an_attempts_energy_lies_in_the_segments_up_to_its_last_mark(
    marks: list[Mark], data: st.DataObject
) -> None:
    increments = data.draw(st.lists(st.integers(1, 80_000), min_size=1, max_size=7))

    closed = replay(marks, increments, [marks], wall_ms=1_000_000)

    for mark in marks:
        holder = next(segment for segment in closed if segment.last_mark_number >= mark.number)
        assert holder.end.nanos >= mark.end_nanos
        for work in mark.work:
            assert any(
                share.image_id == work.image_id
                for segment in closed
                if segment.end.nanos <= holder.end.nanos
                for share in segment.shares
            )
