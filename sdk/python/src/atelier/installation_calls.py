"""The installation itself: its version and clock, and how its parts do."""

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from atelier.calls import Calls
from atelier.v1.installation_service_pb2 import (
    Finding,
    GetInstallationRequest,
    Installation,
    VerifyInstallationRequest,
)
from atelier.v1.installation_service_pb2_grpc import InstallationServiceStub

if TYPE_CHECKING:
    from atelier.v1.installation_service_pb2_grpc import InstallationServiceAsyncStub


class InstallationCalls(Calls):
    """The calls of InstallationService."""

    async def get_installation(self) -> Installation:
        """Ask for the server's version and clock, and whose key this is."""
        request = GetInstallationRequest()
        return await self._connection.call(self._installation().GetInstallation, request)

    async def verify_installation(self) -> AsyncGenerator[Finding, None]:
        """Operator: yield how each part of the installation does, as it is found."""
        answers = self._connection.stream(
            self._installation().VerifyInstallation, VerifyInstallationRequest()
        )
        async with contextlib.aclosing(answers):
            async for answer in answers:
                yield answer.finding

    def _installation(self) -> "InstallationServiceAsyncStub":
        return InstallationServiceStub(self._connection.channel)
