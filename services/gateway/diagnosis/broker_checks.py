"""Whether each tenant's broker answers."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.gateway.diagnosis.finding import Finding, failed, healthy
from services.transport.broker_places import BrokerPlace, BrokerPlaces

_ANSWER_SECONDS_MAX: Final = 2.0
_AT_ONCE: Final = 32
_NAMED_MAX: Final = 5


async def look_at_brokers(brokers: BrokerPlaces, tenant_ids: Sequence[str]) -> Finding:
    """Ask every broker for a sign of life."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def is_silent(tenant_id: str) -> bool:
        async with places:
            return not await _answers(brokers.of(tenant_id))

    answers = await asyncio.gather(*(is_silent(tenant_id) for tenant_id in tenant_ids))
    silent = [tenant for tenant, is_so in zip(tenant_ids, answers, strict=True) if is_so]
    if not silent:
        return healthy("brokers", f"those of {len(tenant_ids)} tenants answer")
    named = ", ".join(silent[:_NAMED_MAX]) + (", …" if len(silent) > _NAMED_MAX else "")
    return failed(
        "brokers",
        f"{len(silent)} of {len(tenant_ids)} do not answer: {named}",
        "The fleet starts them: see that it runs, and what their logs say.",
    )


async def _answers(broker: BrokerPlace) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS_MAX):
            reader, writer = await broker.connect()
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith(b"+PONG")
            finally:
                writer.close()
    except OSError:
        return False
