import pytest

from services.internal.v1 import recorder_pb2
from services.recorder.conversions import finished_attempt_of, heartbeat_of, segment_batch_of
from services.recorder.errors import MessageInvalidError

TOKEN = "00000000-0000-4000-8000-000000000000"


def attempt() -> recorder_pb2.Attempt:
    return recorder_pb2.Attempt(image_id="image1", attempt=1, claim_token=TOKEN)


def finished(**changes: object) -> recorder_pb2.FinishedAttempt:
    message = recorder_pb2.FinishedAttempt(
        attempt=attempt(),
        outcome=recorder_pb2.ATTEMPT_OUTCOME_PICTURE,
        session_id="session",
        gpu_id="cpu-0",
        sha256="0" * 64,
        byte_count=1,
        gpu_seconds=1.5,
    )
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu_seconds": float("nan")},
        {"gpu_seconds": -1.0},
        {"queue_seconds": float("inf")},
        {"sha256": "../" * 21 + "."},
        {"byte_count": 0},
        {"session_id": ""},
        {"gpu_id": "../x"},
        {"outcome": recorder_pb2.ATTEMPT_OUTCOME_FAILED, "failure_reason": "a sentence"},
    ],
)
def test_figures_and_names_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MessageInvalidError):
        finished_attempt_of(finished(**changes))


@pytest.mark.parametrize(
    ("field", "value"), [("claim_token", "no-uuid"), ("attempt", 0), ("image_id", "../../etc")]
)
def test_an_attempt_that_cannot_be_is_refused(field: str, value: object) -> None:
    message = finished()
    setattr(message.attempt, field, value)

    with pytest.raises(MessageInvalidError):
        finished_attempt_of(message)


def test_a_heartbeat_names_what_runs_and_whether_its_first_step_has_begun() -> None:
    beat = heartbeat_of(
        recorder_pb2.AttendRequest(
            session_id="session",
            model="tiny/large-3.5",
            gpu_id="cpu-0",
            progress=[
                recorder_pb2.ImageProgress(attempt=attempt()),
                recorder_pb2.ImageProgress(attempt=attempt(), step=0, step_count=20),
                recorder_pb2.ImageProgress(
                    attempt=attempt(), step=3, step_count=20, preview=b"x" * 100_000
                ),
            ],
        )
    )

    assert [(r.begun, r.step, r.preview) for r in beat.running] == [
        (False, 0, None),
        (True, 0, None),
        # A preview that is too large is left out.
        (True, 3, None),
    ]


def test_segments_of_an_unknown_kind_are_refused() -> None:
    request = recorder_pb2.RecordSegmentsRequest(
        gpu_id="cpu-0", epoch=1, segments=[recorder_pb2.EnergySegment(number=1)]
    )

    with pytest.raises(MessageInvalidError):
        segment_batch_of(request)
