"""Every look at the installation, one after the other; a look that fails is a finding itself."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from database.pool import UNREACHABLE_ERRORS, Pool, transaction
from services.gateway.diagnosis import database_checks
from services.gateway.diagnosis.broker_checks import look_at_brokers
from services.gateway.diagnosis.finding import Finding, failed
from services.gateway.diagnosis.issuer_checks import look_at_issuers
from services.gateway.diagnosis.model_checks import look_at_models
from services.gateway.diagnosis.storage_checks import look_at_disks, look_at_storage
from services.gateway.identity.token_verification import TrustedIssuer
from services.gateway.recorder_client import RecorderClient
from services.jobs.model_catalogue import ModelCatalogue
from services.transport.broker_places import BrokerPlaces
from tenants.run_directory import RunDirectory

_END: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Looks at what a gateway can reach, and asks the recorder about what it cannot."""

    operator_pool: Pool
    run: RunDirectory
    brokers: BrokerPlaces
    recorder: RecorderClient
    catalogue: ModelCatalogue
    # Sources of models are relative to it.
    catalogue_folder: Path
    objects_url: str
    # Whose tokens are taken.
    trusted: Collection[TrustedIssuer]

    async def findings(self) -> AsyncGenerator[Finding]:
        """Yield what is found, as it is found."""
        try:
            # Told after the transaction: a slow reader keeps no connection.
            for finding in await self._in_database():
                yield finding
        except UNREACHABLE_ERRORS as error:
            yield failed(
                "database",
                f"it does not answer: {type(error).__name__}",
                "See that PostgreSQL runs and takes the connections of role atelier_operator.",
            )
        async for finding in look_at_storage(self.recorder):
            yield finding
        for finding in look_at_disks(self.run.path, self.objects_url):
            yield finding
        for finding in look_at_issuers(self.trusted):
            yield finding
        async for finding in _in_thread(look_at_models(self.catalogue, self.catalogue_folder)):
            yield finding

    async def _in_database(self) -> list[Finding]:
        async with transaction(self.operator_pool) as conn:
            looked = database_checks.look_at_database(conn, now=datetime.now(UTC))
            findings = [finding async for finding in looked]
            tenant_ids = await database_checks.active_tenants(conn)
        return [*findings, await look_at_brokers(self.brokers, tenant_ids)]


async def _in_thread(findings: Iterable[Finding]) -> AsyncGenerator[Finding]:
    """Read gigabytes without holding up the calls of others."""
    iterator = iter(findings)
    while (finding := await asyncio.to_thread(next, iterator, _END)) is not _END:
        assert isinstance(finding, Finding)
        yield finding
