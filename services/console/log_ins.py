"""Whose key is it, and how often may somebody ask."""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from atelier import AsyncClient
from atelier.errors import NotAllowedError, NotFoundError
from atelier.names import last_id
from services.console.sessions import Role, Visitor

_ADDRESSES_MAX: Final = 10_000
_MINUTE_SECONDS: Final = 60.0
_OPERATOR_TENANT: Final = "operator"


class LogInLimit:
    """A number of log-ins a minute for each address, refilled evenly."""

    def __init__(self, *, per_minute_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute_max = per_minute_max
        self._clock = clock
        # Address → (how many are left, when that was); the one that asked longest ago comes first.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> bool:
        """Count a log-in; tell whether it may be tried."""
        now = self._clock()
        left, since = self._left.pop(address, (float(self._per_minute_max), now))
        refilled = (now - since) / _MINUTE_SECONDS * self._per_minute_max
        left = min(float(self._per_minute_max), left + refilled)
        may = left >= 1
        self._left[address] = (left - 1 if may else left, now)
        if len(self._left) > _ADDRESSES_MAX:
            self._left.popitem(last=False)
        return may


async def who_holds(client: AsyncClient) -> Visitor:
    """Ask the gateway whose key the client has.

    Raises:
        CallError: the key does not open, or the gateway does not answer.
    """
    # Not by trying what is the operator's: a refused call stands in the tenant's audit log.
    try:
        tenant = await client.get_tenant()
    except NotFoundError:
        return await _operator(client)
    if last_id(tenant.name) == _OPERATOR_TENANT:
        return await _operator(client)
    return Visitor(
        tenant_id=last_id(tenant.name),
        display_name=tenant.display_name or last_id(tenant.name),
        role=Role.ADMIN if await _may(client.list_api_keys()) else Role.MEMBER,
        currency=tenant.currency_code or "USD",
        time_zone=_time_zone(tenant.time_zone),
    )


async def _operator(client: AsyncClient) -> Visitor:
    """Return the operator, whose own tenant is none that orders."""
    await client.list_workers()
    return Visitor(
        tenant_id=_OPERATOR_TENANT,
        display_name="Operator",
        role=Role.OPERATOR,
        currency="",
        time_zone=ZoneInfo("UTC"),
    )


async def _may(entries: AsyncGenerator[object, None]) -> bool:
    """Tell whether a list may be seen at all."""
    try:
        async with aclosing(entries):
            await anext(entries, None)
    except NotAllowedError:
        return False
    return True


def _time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
