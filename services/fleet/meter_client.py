"""The meter's call that the fleet makes; the only place here that knows the wire."""

from datetime import UTC
from types import TracebackType
from typing import Final, Self

from grpc import aio

from services.fleet.errors import MeterUnavailableError
from services.fleet.inventory import Gpu, GpuKind, GpuSample
from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.transport.callees import Callee
from services.transport.channels import RenewedChannel, open_aio_channel

_CALL_SECONDS: Final = 2.0
_RECONNECTING: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_KINDS: Final = {
    meter_pb2.DEVICE_KIND_NVIDIA: GpuKind.NVIDIA,
    meter_pb2.DEVICE_KIND_PROCESSOR: GpuKind.PROCESSOR,
}


class MeterClient:
    """A connection to the meter of this host; an asynchronous context manager."""

    def __init__(self, meter: Callee) -> None:
        self._channel = RenewedChannel(meter, lambda to: open_aio_channel(to, _RECONNECTING))

    @property
    def _stub(self) -> "meter_pb2_grpc.MeterServiceAsyncStub":
        return meter_pb2_grpc.MeterServiceStub(self._channel.now())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for channel in self._channel.opened():
            await channel.close()

    async def list_gpus(self) -> list[Gpu]:
        """Return the host's devices and what their sensors say now.

        Raises:
            MeterUnavailableError: it does not answer.
        """
        request = meter_pb2.ListDevicesRequest()
        try:
            response = await self._stub.ListDevices(request, timeout=_CALL_SECONDS)
        except aio.AioRpcError as error:
            raise MeterUnavailableError(str(error.code())) from error
        return [_gpu(device) for device in response.devices]


def _gpu(device: meter_pb2.Device) -> Gpu:
    return Gpu(
        gpu_id=device.gpu_id,
        kind=_KINDS[device.kind],
        device_uuid=device.device_uuid,
        display_name=device.display_name,
        memory_bytes=device.memory_bytes,
        sample=_sample(device.sample) if device.HasField("sample") else None,
    )


def _sample(sample: meter_pb2.DeviceSample) -> GpuSample:
    return GpuSample(
        temperature_celsius=sample.temperature_celsius
        if sample.HasField("temperature_celsius")
        else None,
        power_watts=sample.power_watts if sample.HasField("power_watts") else None,
        memory_used_bytes=sample.memory_used_bytes
        if sample.HasField("memory_used_bytes")
        else None,
        utilization=sample.utilization if sample.HasField("utilization") else None,
        clock_megahertz=sample.clock_megahertz if sample.HasField("clock_megahertz") else None,
        throttle_reasons=tuple(sample.throttle_reasons),
        sample_time=sample.sample_time.ToDatetime(tzinfo=UTC),
    )
