"""The recorder's storage and the disks."""

import shutil
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from services.gateway.diagnosis.finding import Finding, failed, healthy, unknown, warning
from services.gateway.recorder_client import RecorderClient, SpoolUnreachableError

_GIB: Final = 1024**3
# Below the first somebody should act, below the second a day of pictures may not fit.
_FREE_BYTES_WISHED: Final = 10 * _GIB
_FREE_BYTES_MIN: Final = 1 * _GIB
_MORE_ROOM = "Delete what is not needed, or move the folder to a larger disk."


async def look_at_storage(recorder: RecorderClient) -> AsyncGenerator[Finding]:
    """Have the recorder try the picture store, and look at its disk."""
    try:
        storage = await recorder.probe_storage()
    except SpoolUnreachableError as error:
        yield failed(
            "recorder's socket",
            f"the recorder does not answer the gateway: {error}",
            "Gateway and recorder must share the run directory; start atelier-recorder there.",
        )
        yield unknown("picture store", "only the recorder can write to it")
        return
    yield healthy("recorder's socket", "the recorder answers the gateway")
    if storage.store_error:
        yield failed(
            "picture store",
            f"it takes no object: {storage.store_error}",
            "Mend the store named by ATELIER_RECORDER_OBJECTS_URL; pictures wait in the spool.",
        )
    else:
        yield healthy("picture store", "it took an object and gave it back")
    yield disk_finding(
        "spool's disk", free_bytes=storage.spool_free_bytes, total_bytes=storage.spool_total_bytes
    )


def look_at_disks(run_directory: Path, objects_url: str) -> Iterator[Finding]:
    """Look at the disks of the gateway's host."""
    parts = urlsplit(objects_url)
    if parts.scheme == "file" and Path(parts.path).is_dir():
        disk = shutil.disk_usage(parts.path)
        yield disk_finding("pictures' disk", free_bytes=disk.free, total_bytes=disk.total)
    elif parts.scheme == "file":
        yield failed(
            "pictures' disk",
            f"the gateway sees no folder {parts.path}",
            "Mount the pictures' folder at the gateway too: it reads what customers download.",
        )
    if not run_directory.is_dir():
        yield failed(
            "run directory",
            f"there is no {run_directory}",
            "Mount the same run directory at gateway, recorder, meter, fleet and housekeeper.",
        )


def disk_finding(check: str, *, free_bytes: int, total_bytes: int) -> Finding:
    """Judge how much room is left."""
    told = f"{free_bytes / _GIB:.1f} of {total_bytes / _GIB:.1f} GiB are free"
    if free_bytes < _FREE_BYTES_MIN:
        return failed(check, told, _MORE_ROOM)
    if free_bytes < _FREE_BYTES_WISHED:
        return warning(check, told, _MORE_ROOM)
    return healthy(check, told)
