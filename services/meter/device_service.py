"""What the host's fleet is told: which devices there are and how they do."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from metering.errors import CounterError
from metering.gpu_sensors import GpuSensors, SensorSample
from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.meter.devices import Device
from tenants.ids import GpuId


class DeviceService(meter_pb2_grpc.MeterServiceServicer):
    """The fleet's side of the meter."""

    def __init__(self, devices: Mapping[GpuId, Device]) -> None:
        self._devices = devices

    async def ListDevices(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: meter_pb2.ListDevicesRequest, context: aio.ServicerContext[Any, Any]
    ) -> meter_pb2.ListDevicesResponse:
        """Read every sensor now."""
        devices = await asyncio.gather(
            *(asyncio.to_thread(_device_message, device) for device in self._devices.values())
        )
        return meter_pb2.ListDevicesResponse(devices=devices)


class DeviceSocket:
    """The fleet's socket, open for as long as the block lasts."""

    def __init__(self, service: DeviceService, path: Path) -> None:
        self._path = path
        self._server = aio.server(options=[("grpc.so_reuseport", 0)])
        meter_pb2_grpc.add_MeterServiceServicer_to_server(service, self._server)

    async def __aenter__(self) -> None:
        # One that an earlier meter left behind is replaced.
        self._path.unlink(missing_ok=True)
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()
        self._path.chmod(0o660)

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(grace=None)


def _device_message(device: Device) -> meter_pb2.Device:
    sensors = device.sensors
    message = meter_pb2.Device(
        gpu_id=device.gpu_id,
        kind=meter_pb2.DEVICE_KIND_PROCESSOR if sensors is None else meter_pb2.DEVICE_KIND_NVIDIA,
        display_name=device.counter.facts.display_name,
    )
    if sensors is not None:
        message.device_uuid = sensors.facts.device_uuid
        message.memory_bytes = sensors.facts.memory_bytes
        _add_sample(message, sensors)
    return message


def _add_sample(message: meter_pb2.Device, sensors: GpuSensors) -> None:
    """Add what the sensors say; nothing when the driver does not answer."""
    try:
        sample = sensors.read()
    except CounterError:
        return
    message.sample.CopyFrom(_sample_message(sample))


def _sample_message(sample: SensorSample) -> meter_pb2.DeviceSample:
    now = Timestamp()
    now.GetCurrentTime()
    return meter_pb2.DeviceSample(
        temperature_celsius=sample.temperature_celsius,
        power_watts=sample.power_watts,
        memory_used_bytes=sample.memory_used_bytes,
        utilization=sample.utilization,
        clock_megahertz=sample.clock_megahertz,
        throttle_reasons=sample.throttle_reasons,
        sample_time=now,
    )
