"""Which device files are one NVIDIA card, as its driver tells in /proc."""

import re
from pathlib import Path
from typing import Final

from tenants.launchers.errors import WorkerRefusedError

_CARDS: Final = Path("/proc/driver/nvidia/gpus")
# What every program that computes needs beside the card's own file; none of them is another card.
_SHARED: Final = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def device_nodes(device_uuid: str, *, cards: Path = _CARDS) -> tuple[str, ...]:
    """Return the card's file and those that all cards share.

    Raises:
        WorkerRefusedError: the driver knows no such card, or it is a slice of one.
    """
    if device_uuid.startswith("MIG-"):
        # The card's file opens every slice whose capability file is there too.
        raise WorkerRefusedError(
            f"{device_uuid} is a slice of a card split by MIG: the launcher `sandbox` hands out"
            " whole cards only, `container` hands out slices by their CDI description"
        )
    for card in sorted(cards.glob("*/information")):
        text = card.read_text()
        uuid = re.search(r"^GPU UUID:\s*(\S+)", text, re.MULTILINE)
        minor = re.search(r"^Device Minor:\s*(\d+)", text, re.MULTILINE)
        if uuid and minor and uuid[1] == device_uuid:
            shared = [node for node in _SHARED if Path(node).exists()]
            return (f"/dev/nvidia{minor[1]}", *shared)
    raise WorkerRefusedError(f"the NVIDIA driver of this host knows no card {device_uuid}")
