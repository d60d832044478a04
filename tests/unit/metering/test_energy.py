from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from metering.energy import Activity, Edge, Reading, Segment, Share, partition
from metering.power import AttemptWork, Power, SegmentKind, Shape
from tenants.ids import ImageId

MS = 1_000_000
IDLE = Power(100.0, 0.15, Shape(SegmentKind.PARKED))
CAT = ImageId("cat")
DOG = ImageId("dog")


def edge(nanos: int = 0, millijoules: int = 0) -> Edge:
    return Edge(reading=Reading(nanos, millijoules), error_millijoules=0.0)


def idle(start_ms: int, end_ms: int) -> Activity:
    return Activity(
        start_nanos=start_ms * MS, end_nanos=end_ms * MS, power=IDLE, kind=SegmentKind.PARKED
    )


def work(start_ms: int, end_ms: int, **units: float) -> Activity:
    return Activity(
        start_nanos=start_ms * MS,
        end_nanos=end_ms * MS,
        power=Power(700.0, 0.15, Shape(SegmentKind.WORK, 1, ",".join(units))),
        kind=SegmentKind.WORK,
        work=tuple(AttemptWork(ImageId(name), 1, amount) for name, amount in units.items()),
    )


def divided(activities: list[Activity], readings: list[Reading]) -> list[Segment]:
    segments, _ = partition(
        start=edge(),
        readings=readings,
        activities=activities,
        beyond=IDLE,
    )
    return segments


def test_an_increment_is_divided_in_proportion_to_modelled_power() -> None:
    readings = [Reading(100 * MS, 40_000)]

    segments = divided([idle(0, 50), work(50, 100, cat=1.0)], readings)

    assert [segment.millijoules for segment in segments] == [5_000, 35_000]


def test_a_mark_longer_than_many_increments_gets_all_of_them_and_its_parts_of_the_outer_two() -> (
    None
):
    readings = [Reading(at * 100 * MS, at * 10_000) for at in range(1, 6)]

    segments = divided([idle(0, 50), work(50, 450, cat=1.0), idle(450, 500)], readings)

    assert [segment.millijoules for segment in segments] == [1_250, 47_500, 1_250]


def test_steps_of_the_same_images_within_an_increment_become_one_segment() -> None:
    steps = [work(at, at + 10, cat=2.0, dog=1.0) for at in range(0, 100, 10)]

    segments = divided(steps, [Reading(100 * MS, 90_000)])

    assert [segment.shares for segment in segments] == [
        (
            Share(image_id=CAT, attempt=1, millijoules=60_000, error_millijoules=1),
            Share(image_id=DOG, attempt=1, millijoules=30_000, error_millijoules=1),
        )
    ]


def test_an_image_that_joins_begins_a_segment() -> None:
    steps = [work(0, 50, cat=1.0), work(50, 100, cat=1.0, dog=1.0)]

    segments = divided(steps, [Reading(100 * MS, 100_000)])

    assert [len(segment.shares) for segment in segments] == [1, 2]
    assert [segment.millijoules for segment in segments] == [50_000, 50_000]


def test_an_activity_that_the_readings_do_not_cover_stays_open() -> None:
    segments = divided([work(0, 80, cat=1.0), work(80, 200, dog=1.0)], [Reading(100 * MS, 10_000)])

    assert [segment.millijoules for segment in segments] == [8_000]


def test_what_runs_beyond_the_activities_takes_its_part_of_the_increment() -> None:
    segments, _ = partition(
        start=edge(),
        readings=[Reading(100 * MS, 10_000)],
        activities=[idle(0, 50)],
        beyond=IDLE._replace(watts=900.0),
    )

    assert [segment.millijoules for segment in segments] == [1_000]


def test_an_edge_on_a_reading_has_no_error_of_shape_and_one_between_readings_has() -> None:
    readings = [Reading(100 * MS, 50_000), Reading(200 * MS, 100_000)]

    on_readings = divided([work(0, 100, cat=1.0), work(100, 200, dog=1.0)], readings)
    between = divided([work(0, 50, cat=1.0), work(50, 200, dog=1.0)], readings)

    assert [segment.error_millijoules for segment in on_readings] == [1, 1]
    # 50 J × ½ × ½ × √2 × (15 % by shape ⊕ 4 % of noise)
    assert between[0].error_millijoules == 2_745


def test_images_without_counted_work_share_alike() -> None:
    (segment,) = divided([work(0, 100, cat=0.0, dog=0.0)], [Reading(100 * MS, 7)])

    assert [share.millijoules for share in segment.shares] == [4, 3]


@st.composite
def activities(draw: st.DrawFn) -> list[Activity]:
    lengths = draw(st.lists(st.integers(min_value=1, max_value=400), min_size=1, max_size=15))
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    made: list[Activity] = []
    for start, end in pairwise([0, *ends]):
        units = draw(
            st.dictionaries(st.sampled_from(["cat", "dog", "owl"]), st.floats(0, 1e6), max_size=3)
        )
        made.append(work(start, end, **units) if units else idle(start, end))
    return made


@st.composite
def counters(draw: st.DrawFn, *, until_ms: int) -> list[Reading]:
    """Readings of any spacing whose last one is exactly at ``until_ms``."""
    moments = draw(st.sets(st.integers(min_value=1, max_value=until_ms), max_size=20)) | {until_ms}
    readings = [Reading(0, 0)]
    for moment in sorted(moments):
        increment = draw(st.integers(min_value=0, max_value=80_000))
        readings.append(Reading(moment * MS, readings[-1].millijoules + increment))
    return readings[1:]


@given(data=st.data())
def test_the_segments_add_up_to_the_counter_and_their_shares_to_the_segments(
    data: st.DataObject,
) -> None:
    timeline = data.draw(activities())
    readings = data.draw(counters(until_ms=timeline[-1].end_nanos // MS))

    segments = divided(timeline, readings)

    assert sum(segment.millijoules for segment in segments) == readings[-1].millijoules
    assert all(segment.millijoules >= 0 for segment in segments)
    assert all(before.end == after.start for before, after in pairwise(segments))
    assert segments[-1].end == readings[-1]
    for segment in segments:
        if segment.shares:
            assert sum(share.millijoules for share in segment.shares) == segment.millijoules
            assert all(share.millijoules >= 0 for share in segment.shares)


@given(data=st.data())
def test_an_image_gets_no_more_than_the_increments_it_touches(data: st.DataObject) -> None:
    timeline = data.draw(activities())
    readings = data.draw(counters(until_ms=timeline[-1].end_nanos // MS))

    segments = divided(timeline, readings)

    for segment in segments:
        touched = sum(
            after.millijoules - before.millijoules
            for before, after in pairwise([Reading(0, 0), *readings])
            if before.nanos < segment.end.nanos and after.nanos > segment.start.nanos
        )
        assert segment.millijoules <= touched
