from pathlib import Path
from time import monotonic_ns

from services.engine.image_spec import AttemptKey
from services.engine.marks import Mark, MarkKind
from services.internal.v1 import meter_pb2
from services.transport.callees import socket_callee
from services.transport.hosts import read_boot_id
from services.worker.meter_client import MeterClient
from tenants.ids import GpuId, ImageId, SessionId

MS = 1_000_000


def new_client() -> MeterClient:
    return MeterClient(
        meter=socket_callee(Path("nowhere.sock")), session_id=SessionId("s"), gpu_id=GpuId("cpu-0")
    )


def tell(client: MeterClient, number: int, *, kind: MarkKind = MarkKind.STEP) -> Mark:
    now = monotonic_ns()
    mark = Mark(
        number=number,
        kind=kind,
        start_nanos=now,
        end_nanos=now + MS,
        work=((AttemptKey(ImageId("cat"), 2), 7.5),),
    )
    client.begin(kind, mark.start_nanos)
    client.end(mark)
    return mark


def numbers(message: meter_pb2.MarkRequest) -> list[int]:
    return [mark.number for mark in message.marks]


def test_a_mark_is_told_with_its_work_and_the_first_message_with_its_place() -> None:
    client = new_client()
    mark = tell(client, 1)

    message = next(client.messages())

    assert message == meter_pb2.MarkRequest(
        session_id="s",
        watermark_nanos=message.watermark_nanos,
        gpu_id="cpu-0",
        boot_id=read_boot_id(),
        marks=[
            meter_pb2.Mark(
                number=1,
                kind=meter_pb2.MARK_KIND_STEP,
                start_nanos=mark.start_nanos,
                end_nanos=mark.end_nanos,
                work=[meter_pb2.Work(image_id="cat", attempt=2, units=7.5)],
            )
        ],
    )


def test_being_parked_is_not_told() -> None:
    client = new_client()
    tell(client, 1, kind=MarkKind.PARKED)

    assert numbers(next(client.messages())) == []


def test_a_stream_tells_only_news_and_a_new_stream_tells_the_last_marks_again() -> None:
    client = new_client()
    tell(client, 1)
    first = client.messages()
    seen = [numbers(next(first))]
    tell(client, 2)
    seen.append(numbers(next(first)))

    second = client.messages()
    seen.append(numbers(next(second)))

    assert seen == [[1], [2], [1, 2]]


def test_the_watermark_waits_for_what_runs_and_follows_the_clock_else() -> None:
    client = new_client()
    messages = client.messages()
    before = next(messages).watermark_nanos
    start = monotonic_ns()
    client.begin(MarkKind.STEP, start)

    while_running = [next(messages).watermark_nanos for _ in range(2)]
    client.end(Mark(number=1, kind=MarkKind.STEP, start_nanos=start, end_nanos=start + MS, work=()))
    after = next(messages).watermark_nanos

    assert before <= start
    assert while_running == [start, start]
    assert after >= start + MS


def test_no_mark_starts_before_what_was_promised() -> None:
    client = new_client()
    promised = next(client.messages()).watermark_nanos

    client.begin(MarkKind.STEP, promised - 5 * MS)
    client.end(
        Mark(
            number=1,
            kind=MarkKind.STEP,
            start_nanos=promised - 5 * MS,
            end_nanos=promised + MS,
            work=(),
        )
    )

    (mark,) = next(client.messages()).marks
    assert (mark.start_nanos, mark.end_nanos) == (promised, promised + MS)


def test_many_marks_travel_in_several_messages_whose_watermarks_wait_for_the_rest() -> None:
    client = new_client()
    marks = [tell(client, number) for number in range(1, 701)]
    messages = client.messages()

    first, second = next(messages), next(messages)

    assert (len(first.marks), len(second.marks)) == (500, 200)
    assert first.watermark_nanos == marks[500].start_nanos


def test_a_closed_client_tells_the_rest_and_ends_its_stream() -> None:
    client = new_client()
    tell(client, 1)
    client.close()

    assert [numbers(message) for message in client.messages()] == [[1]]
