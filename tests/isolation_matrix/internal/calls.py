"""One entry for each call between our own processes: what its rightful caller would send.

`{tenant}`, `{session}` and the like become the ids of whose things are named. A new call needs an
entry, with every field that can name something of a tenant; a test fails until it has one. A call
that can be made in several ways has one entry for each, told apart in brackets.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.transport.identities import ProcessRole
from tests.integration.services.recorder.session import png

PICTURE: Final = png()

_SCALED_OBJECT: Final = {
    "name": "worker",
    "namespace": "atelier-tenant-{tenant}",
    "scalerMetadata": {"tenant": "{tenant}", "target": "4"},
}
_A_DEVICE_IS_THE_HOSTS: Final = "a device is the host's, no tenant's"
_ONLY_A_PICTURE_IS_CHARGED: Final = {
    "attempt.session_id": "read with a picture only: nothing else is charged",
    "attempt.gpu_id": "read with a picture only: nothing else is charged",
}
_KEDA_ASKS_FOR_ALL: Final = {
    "scalerMetadata.tenant": "KEDA asks for every tenant",
    "namespace": "told by KEDA and read by nobody",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A call as its rightful caller makes it."""

    caller: ProcessRole
    messages: list[Mapping[str, Any]]
    # What the answer to one's own says when it has reached what it names.
    told: str = ""
    # Fields that its caller may fill as it likes, and why nobody is harmed.
    free: Mapping[str, str] = field(default_factory=dict[str, str])


def _finish(which: str, outcome: str, *, told: str, free: Mapping[str, str], **said: Any) -> Entry:
    """End the attempt of that name; each outcome has an image of its own."""
    attempt = {
        "attempt": {
            "image_id": f"{{{which}_image}}",
            "attempt": 1,
            "claim_token": f"{{{which}_token}}",
        },
        "outcome": f"ATTEMPT_OUTCOME_{outcome}",
        "session_id": "{session}",
        "gpu_id": "{gpu}",
        **said,
    }
    chunk = b64encode(PICTURE).decode()
    return Entry(
        caller=ProcessRole.WORKER,
        messages=[{"attempt": attempt}, {"chunk": chunk}],
        told=told,
        free=free,
    )


CALLS: Final[Mapping[str, Entry]] = {
    "RecorderService/Attend": Entry(
        caller=ProcessRole.WORKER,
        messages=[
            {
                "session_id": "{beating}",
                "model": "tiny",
                "gpu_id": "{gpu}",
                "ready": True,
                "progress": [
                    {
                        "attempt": {
                            "image_id": "{drawn_image}",
                            "attempt": 1,
                            "claim_token": "{drawn_token}",
                        },
                        "step": 1,
                        "step_count": 2,
                        "preview": b64encode(b"preview").decode(),
                    }
                ],
            }
        ],
        told="duty_cycle: 1",
    ),
    "RecorderService/ClaimImage": Entry(
        caller=ProcessRole.WORKER,
        messages=[{"session_id": "{session}", "model": "tiny"}],
        told="prompt: ",
    ),
    "RecorderService/FinishImage": _finish(
        "drawn",
        "PICTURE",
        told='accepted: true\nstate: "SUCCEEDED"',
        free={},
        sha256=hashlib.sha256(PICTURE).hexdigest(),
        byte_count=len(PICTURE),
        began_step=True,
        gpu_seconds=0.01,
    ),
    "RecorderService/FinishImage (failed)": _finish(
        "failed",
        "FAILED",
        told='accepted: true\nstate: "FAILED"',
        free=_ONLY_A_PICTURE_IS_CHARGED,
        failure_reason="STEP_FAILED",
    ),
    "RecorderService/FinishImage (cancelled)": _finish(
        "cancelled",
        "CANCELLED",
        told='accepted: true\nstate: "CANCELLED"',
        free=_ONLY_A_PICTURE_IS_CHARGED,
    ),
    "RecorderService/FinishImage (handed back)": _finish(
        "returned",
        "HANDED_BACK",
        told='accepted: true\nstate: "QUEUED"',
        free=_ONLY_A_PICTURE_IS_CHARGED,
    ),
    "RecorderService/ReadPicture": Entry(
        caller=ProcessRole.GATEWAY,
        messages=[{"tenant_id": "{tenant}", "image_id": "{spooled_image}"}],
        told="chunk: ",
    ),
    "RecorderService/ProbeStorage": Entry(
        caller=ProcessRole.GATEWAY, messages=[{}], told="spool_total_bytes: "
    ),
    "RecorderService/RecordSegments": Entry(
        caller=ProcessRole.METER,
        messages=[
            {
                "gpu_id": "{fresh}",
                "epoch": "1",
                "segments": [
                    {
                        "number": "1",
                        "start_time": "2024-01-01T00:00:00Z",
                        "end_time": "2024-01-01T00:00:01Z",
                        "millijoules": "100",
                        "kind": "SEGMENT_KIND_WORK",
                        "tenant_id": "{tenant}",
                        "shares": [
                            {"image_id": "{drawn_image}", "attempt": 1, "millijoules": "100"}
                        ],
                        "session_id": "{session}",
                        "last_mark_number": "1",
                        "source": "READING_SOURCE_NVML_COUNTER",
                    }
                ],
                "start_reading": {"millijoules": "0", "read_time": "2024-01-01T00:00:00Z"},
                "end_reading": {"millijoules": "100", "read_time": "2024-01-01T00:00:01Z"},
            }
        ],
        told="last_number: 1",
        free={
            "gpu_id": _A_DEVICE_IS_THE_HOSTS,
            "segments.tenant_id": "the meter knows the tenant from the socket or certificate",
        },
    ),
    "RecorderService/GetLastReading": Entry(
        caller=ProcessRole.METER,
        messages=[{"gpu_id": "{fresh}"}],
        free={"gpu_id": _A_DEVICE_IS_THE_HOSTS},
    ),
    "MeterService/Mark": Entry(
        caller=ProcessRole.WORKER,
        messages=[
            {
                "session_id": "{session}",
                "marks": [
                    {
                        "number": "1",
                        "kind": "MARK_KIND_STEP",
                        "start_nanos": "{before}",
                        "end_nanos": "{now}",
                        "work": [{"image_id": "{drawn_image}", "attempt": 1, "units": 1.0}],
                    }
                ],
                "watermark_nanos": "{now}",
                "gpu_id": "{gpu}",
                "boot_id": "{boot}",
            }
        ],
        free={"boot_id": "a host's, no tenant's"},
    ),
    "MeterService/ListDevices": Entry(caller=ProcessRole.FLEET, messages=[{}], told="gpu_id: "),
    "ExternalScaler/IsActive": Entry(
        caller=ProcessRole.KEDA,
        messages=[_SCALED_OBJECT],
        told="result: true",
        free=_KEDA_ASKS_FOR_ALL,
    ),
    "ExternalScaler/StreamIsActive": Entry(
        caller=ProcessRole.KEDA,
        messages=[_SCALED_OBJECT],
        told="result: true",
        free=_KEDA_ASKS_FOR_ALL,
    ),
    "ExternalScaler/GetMetricSpec": Entry(
        caller=ProcessRole.KEDA,
        messages=[_SCALED_OBJECT],
        told="atelier_open_work",
        free=_KEDA_ASKS_FOR_ALL,
    ),
    "ExternalScaler/GetMetrics": Entry(
        caller=ProcessRole.KEDA,
        messages=[{"scaledObjectRef": _SCALED_OBJECT, "metricName": "atelier_open_work"}],
        told="metricValue: ",
        free={f"scaledObjectRef.{path}": why for path, why in _KEDA_ASKS_FOR_ALL.items()},
    ),
}
