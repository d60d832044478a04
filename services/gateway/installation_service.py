"""InstallationService: what this installation is, who asks, and how it does."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

import grpc.aio

from atelier.contract import contract_sha256
from atelier.v1 import api_key_service_pb2, installation_service_pb2, installation_service_pb2_grpc
from services.gateway import resource_names
from services.gateway.callers import current_caller
from services.gateway.conversions import enum_number, to_timestamp
from services.gateway.diagnosis.checks import Diagnosis
from services.gateway.diagnosis.finding import Finding

_Context = grpc.aio.ServicerContext[Any, Any]
_SERVERS: Final = "atelier-servers"


class InstallationService(installation_service_pb2_grpc.InstallationServiceServicer):
    """Serves the calls of InstallationService."""

    def __init__(self, *, diagnosis: Diagnosis, now: Callable[[], datetime]) -> None:
        self._diagnosis = diagnosis
        self._now = now

    async def GetInstallation(
        self, request: installation_service_pb2.GetInstallationRequest, context: _Context
    ) -> installation_service_pb2.Installation:
        caller = current_caller()
        return installation_service_pb2.Installation(
            server_version=version(_SERVERS),
            contract_sha256=contract_sha256(),
            server_time=to_timestamp(self._now()),
            tenant=resource_names.TENANT.write(caller.tenant_id),
            api_key=resource_names.API_KEY.write(caller.tenant_id, caller.key_id),
            role=enum_number(api_key_service_pb2.KeyRole, caller.role),
            suspended=caller.suspended,
            issuer=caller.issuer,
            subject=caller.subject,
        )

    async def VerifyInstallation(
        self, request: installation_service_pb2.VerifyInstallationRequest, context: _Context
    ) -> AsyncIterator[installation_service_pb2.VerifyInstallationResponse]:
        async for finding in self._diagnosis.findings():
            yield installation_service_pb2.VerifyInstallationResponse(
                finding=_finding_message(finding)
            )


def _finding_message(finding: Finding) -> installation_service_pb2.Finding:
    return installation_service_pb2.Finding(
        check=finding.check,
        state=enum_number(installation_service_pb2.FindingState, finding.state),
        message=finding.message,
        advice=finding.advice,
    )
