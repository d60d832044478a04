"""Where a part's weights live."""

from enum import StrEnum


class Residence(StrEnum):
    """On the device, or in the host's memory from where they visit it when they are needed."""

    RESIDENT = "resident"
    OFFLOADED = "offloaded"
