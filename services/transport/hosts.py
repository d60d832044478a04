"""Which start of which host this is: CLOCK_MONOTONIC means nothing beyond it."""

from pathlib import Path
from typing import Final

# Of the kernel, so all containers of a host read the same.
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return the id that the kernel made when it started."""
    return _BOOT_ID.read_text().strip()
