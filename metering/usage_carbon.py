"""CO₂ of a report: each stretch of its time by the factors that held then, as invoices have it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from metering.energy_factors import EnergyFactors
from metering.usage_questions import UsageFilter
from metering.usage_reports import UsageReport, UsageSum

ALL_GROUPS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageCarbon:
    """Grams of CO₂ equivalent of a report's groups and total; None where factors are missing."""

    factors: tuple[EnergyFactors, ...]
    groups: tuple[Decimal | None, ...]
    total: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """The end of a part of the report's time, and what held in it."""

    end_time: datetime
    factors: EnergyFactors | None


async def carbon_of(
    report: UsageReport,
    *,
    chosen: UsageFilter,
    versions: Sequence[EnergyFactors],
    query_all: Callable[[UsageFilter], Awaitable[UsageReport]],
) -> UsageCarbon:
    """Work out the carbon dioxide of a report's energy.

    Only where factors change within its time is anything read again: the energy of each stretch
    but the last, which has the rest. ``query_all`` reports all groups of a filter; ``versions`` are
    ordered.
    """
    stretches, last = _stretches(chosen, versions)
    parts: list[tuple[EnergyFactors | None, dict[object, int]]] = []
    start_time = chosen.start_time
    for stretch in stretches:
        part = await query_all(replace(chosen, start_time=start_time, end_time=stretch.end_time))
        parts.append((stretch.factors, _energies(part)))
        start_time = stretch.end_time
    held = [factors for factors in (*(part for part, _ in parts), last) if factors is not None]
    return UsageCarbon(
        factors=tuple(held),
        groups=tuple(_grams(row, _key(row), parts, last) for row in report.groups),
        total=None if report.total is None else _grams(report.total, None, parts, last),
    )


def _stretches(
    chosen: UsageFilter, versions: Sequence[EnergyFactors]
) -> tuple[list[_Stretch], EnergyFactors | None]:
    """Cut the time where factors change; the last stretch is told by its factors alone."""
    stretches: list[_Stretch] = []
    held: EnergyFactors | None = None
    for version in versions:
        if chosen.end_time is not None and version.effective_time >= chosen.end_time:
            break
        if chosen.start_time is None or version.effective_time > chosen.start_time:
            stretches.append(_Stretch(end_time=version.effective_time, factors=held))
        held = version
    return stretches, held


def _grams(
    row: UsageSum,
    key: object,
    parts: Sequence[tuple[EnergyFactors | None, dict[object, int]]],
    last: EnergyFactors | None,
) -> Decimal | None:
    rest_millijoules, grams = row.energy_millijoules, Decimal(0)
    for factors, energies in parts:
        millijoules = energies.get(key, 0)
        rest_millijoules -= millijoules
        if factors is not None:
            grams += factors.carbon_grams(millijoules)
        elif millijoules:
            return None
    if last is not None:
        return grams + last.carbon_grams(rest_millijoules)
    return None if rest_millijoules else grams


def _energies(report: UsageReport) -> dict[object, int]:
    """By group; the total's key is None."""
    energies: dict[object, int] = {_key(row): row.energy_millijoules for row in report.groups}
    energies[None] = report.total.energy_millijoules if report.total else 0
    return energies


def _key(row: UsageSum) -> tuple[object, ...]:
    """What makes a group."""
    return (
        row.day,
        row.model,
        row.width,
        row.height,
        row.key_id,
        row.project,
        row.job_id,
        row.label_value,
        row.outcome,
        row.currency,
    )
