"""How long a connection may live on a handshake that would fail now."""

from pathlib import Path

import grpc
import trustme

from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.meter.device_service import DeviceService
from services.transport.callees import Callee
from services.transport.channels import open_aio_channel
from services.transport.identities import ProcessRole
from services.transport.served_port import ServedPort
from services.transport.tls_files import identity_files
from tests.integration.certificates import write_identity
from tests.integration.installation import eventually
from tests.integration.services.transport.conftest import system_uri


async def test_a_connection_has_to_show_a_good_certificate_again(tmp_path: Path) -> None:
    authority = trustme.CA()
    meter_uri, fleet_uri = system_uri(ProcessRole.METER), system_uri(ProcessRole.FLEET)
    own = write_identity(tmp_path / "own", authority, meter_uri)
    callers = write_identity(tmp_path / "callers", authority, fleet_uri)
    port = ServedPort(
        lambda server: meter_pb2_grpc.add_MeterServiceServicer_to_server(DeviceService({}), server),
        "127.0.0.1:0",
        identity_files(own),
        message_bytes_max=1024,
        connection_seconds_max=0.2,
    )
    callee = Callee(target=f"localhost:{await port.open()}", tls=identity_files(callers))
    async with open_aio_channel(callee) as channel:
        stub = meter_pb2_grpc.MeterServiceStub(channel)

        async def answer() -> grpc.StatusCode:
            return await stub.ListDevices(meter_pb2.ListDevicesRequest(), timeout=30).code()

        async def refused() -> bool | None:
            return (await answer() is grpc.StatusCode.UNAVAILABLE) or None

        at_first = await answer()
        write_identity(tmp_path / "own", authority, meter_uri, trusted=trustme.CA())
        assert await eventually(refused, what="an end of the connection")
    await port.close()

    assert at_first is grpc.StatusCode.OK
