from metering.energy import Reading, Segment
from metering.energy_source import EnergySource
from metering.power import SegmentKind
from services.meter.outbox import Outbox
from tenants.ids import GpuId

SECOND = 1_000_000_000


def free(start_second: int, end_second: int) -> Segment:
    return Segment(
        start=Reading(start_second * SECOND, start_second * 85_000),
        end=Reading(end_second * SECOND, end_second * 85_000),
        error_millijoules=1,
        kind=SegmentKind.FREE,
        tenant_id=None,
        session_id=None,
        last_mark_number=0,
        shares=(),
        hour=start_second // 3600,
    )


def new_outbox() -> Outbox:
    return Outbox(GpuId("gpu-0"), source=EnergySource.NVML_COUNTER, display_name="NVIDIA H200")


def numbers(outbox: Outbox) -> tuple[int, list[int]] | None:
    batch = outbox.next_batch()
    return batch and (batch.epoch, [segment.number for segment in batch.segments])


def test_segments_of_one_hour_and_epoch_travel_together() -> None:
    outbox = new_outbox()
    outbox.add(7, [free(3590, 3595), free(3595, 3600), free(3600, 3605)], wall_offset_nanos=0)
    outbox.add(8, [free(3605, 3610)], wall_offset_nanos=0)

    seen = [numbers(outbox)]
    for epoch, number in ((7, 2), (7, 3), (8, 1)):
        outbox.acknowledge(epoch, number)
        seen.append(numbers(outbox))

    assert seen == [(7, [1, 2]), (7, [3]), (8, [1]), None]


def test_a_batch_tells_the_counter_at_both_its_ends() -> None:
    outbox = new_outbox()
    outbox.add(1, [free(10, 20), free(20, 30)], wall_offset_nanos=5 * SECOND)

    batch = outbox.next_batch()

    assert batch is not None
    assert (batch.start_reading.millijoules, batch.end_reading.millijoules) == (850_000, 2_550_000)
    assert batch.end_reading.read_time.timestamp() == 35


def test_a_batch_is_bounded() -> None:
    outbox = new_outbox()
    outbox.add(1, [free(second, second + 1) for second in range(700)], wall_offset_nanos=0)

    first = numbers(outbox)
    outbox.acknowledge(1, 500)
    rest = numbers(outbox)

    assert first == (1, list(range(1, 501)))
    assert rest == (1, list(range(501, 701)))


def test_what_is_given_up_begins_at_the_first_edge_that_is_not_stored() -> None:
    outbox = new_outbox()
    outbox.add(1, [free(10, 20), free(20, 30)], wall_offset_nanos=0)
    outbox.acknowledge(1, 1)

    edge = outbox.abandon()

    assert edge == Reading(20 * SECOND, 1_700_000)
    assert len(outbox) == 0
