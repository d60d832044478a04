"""The part of NVIDIA's driver that is used, as pynvml answers: it reads, and sets nothing."""

from typing import Protocol


class MemoryInfo(Protocol):
    """The driver's answer, in bytes."""

    total: int
    used: int


class UtilizationRates(Protocol):
    """The driver's answer, in percent."""

    gpu: int


class SliceAttributes(Protocol):
    """The driver's answer, in compute slices of the card (an H200 has seven)."""

    gpuInstanceSliceCount: int  # noqa: N815 - the driver's name


class Driver(Protocol):
    """The part of pynvml that is used; the real one is the module itself."""

    def nvmlInit(self) -> None: ...  # noqa: N802 - the driver's names
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802
    def nvmlDeviceGetName(self, handle: object) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetPowerUsage(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]: ...  # noqa: N802
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int) -> object: ...  # noqa: N802
    def nvmlDeviceGetGpuInstanceId(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetAttributes(self, handle: object) -> SliceAttributes: ...  # noqa: N802


class SensorDriver(Driver, Protocol):
    """The part that reads a card's other sensors."""

    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> MemoryInfo: ...  # noqa: N802
    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int: ...  # noqa: N802
    def nvmlDeviceGetUtilizationRates(self, handle: object) -> UtilizationRates: ...  # noqa: N802
    def nvmlDeviceGetClockInfo(self, handle: object, clock: int) -> int: ...  # noqa: N802
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int: ...  # noqa: N802
