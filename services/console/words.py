"""What people read: amounts, energies, times and states in words. Pure.

Amounts are shortened for reading; the exact one stands in the page's title attribute.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from math import ceil
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from atelier.money import as_decimal
from atelier.v1.api_key_service_pb2 import ApiKeyState, KeyRole
from atelier.v1.billing_service_pb2 import BudgetEnforcement, BudgetPeriod, InvoiceState
from atelier.v1.energy_pb2 import EnergySource
from atelier.v1.fleet_service_pb2 import WorkerState
from atelier.v1.image_pb2 import ImageState, OutputFormat, Tier
from atelier.v1.job_service_pb2 import JobState
from atelier.v1.money_pb2 import Money
from atelier.v1.tenant_service_pb2 import TenantState

_NO_BREAK: Final = "\u00a0"
_DASH: Final = "–"
_JOULES_PER_KWH: Final = 3_600_000
_BYTES_PER_STEP: Final = 1024
# Of a normal distribution, 95 % lie within so many standard deviations.
_DEVIATIONS: Final = 1.96
# Below so many millijoules `energy` writes them in steps of so many.
_ENERGY_PLACES: Final = (
    (100_000, 100),
    (10_000_000, 1_000),
    (3_600_000_000, 100_000),
    (10**18, 36_000_000),
)
_MEASURED: Final = frozenset(
    {
        EnergySource.ENERGY_SOURCE_NVML_COUNTER,
        EnergySource.ENERGY_SOURCE_NVML_POWER,
        EnergySource.ENERGY_SOURCE_RAPL,
    }
)


class HasSeconds(Protocol):
    """A protobuf Timestamp, as far as it is needed here."""

    @property
    def seconds(self) -> int: ...
    def ToDatetime(self, tzinfo: ZoneInfo | None = None) -> datetime: ...  # noqa: N802


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWord:
    """A state as a word, and the tone it is said in; a colour alone says nothing."""

    word: str
    tone: str


def money(amount: Money, *, signed: bool = False) -> str:
    """Write an amount with two decimals, small ones with as many as tell something."""
    value = as_decimal(amount)
    decimals = _decimals(value)
    rounded = value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    text = f"{rounded:+,f}" if signed else f"{rounded:,f}"
    return f"{text.replace('-', '−')}{_NO_BREAK}{amount.currency_code}"


def _decimals(value: Decimal) -> int:
    if abs(value) >= Decimal("0.1") or value == value.quantize(Decimal("0.01")):
        return 2
    return 4 if abs(value) >= Decimal("0.001") else 6 if abs(value) >= Decimal("0.00001") else 9


def energy(millijoules: int) -> str:
    """Write joules, kilojoules or kilowatt-hours, whichever reads best."""
    joules = millijoules / 1000
    if abs(joules) >= _JOULES_PER_KWH:
        return f"{joules / _JOULES_PER_KWH:,.2f}{_NO_BREAK}kWh"
    if abs(joules) >= 10_000:
        return f"{joules / 1000:,.1f}{_NO_BREAK}kJ"
    return f"{joules:,.1f}{_NO_BREAK}J" if abs(joules) < 100 else f"{joules:,.0f}{_NO_BREAK}J"


def energy_interval(error_millijoules: int, source: "EnergySource.ValueType") -> str:
    """Write the 95 % interval of a reading, rounded up so that none claims to be exact.

    An estimate has none: how far its model is off nobody measured.
    """
    if source not in _MEASURED or not error_millijoules:
        return ""
    half_width = ceil(error_millijoules * _DEVIATIONS)
    place = next(place for below, place in _ENERGY_PLACES if half_width < below)
    return f"± {energy(-(-half_width // place) * place)} (95{_NO_BREAK}%)"


def quantity(consumed: str, unit: str) -> str:
    """Write how many of a unit."""
    return f"{consumed} {unit}" if consumed == "1" or unit in {"kWh", ""} else f"{consumed} {unit}s"


def energy_source(source: "EnergySource.ValueType") -> str:
    """Tell how a figure came about: readings and estimates are not the same."""
    return {
        EnergySource.ENERGY_SOURCE_NVML_COUNTER: "GPU counter",
        EnergySource.ENERGY_SOURCE_NVML_POWER: "GPU power, integrated",
        EnergySource.ENERGY_SOURCE_RAPL: "processor counter",
        EnergySource.ENERGY_SOURCE_ESTIMATED: "estimated",
        EnergySource.ENERGY_SOURCE_PARTIAL: "readings missing",
    }.get(source, "no reading")


def number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def seconds(value: float) -> str:
    """Write a length of time, such as "8.4 s", "3 min 20 s" or "2 h 05 min"."""
    if value < 60:
        return f"{value:.1f}{_NO_BREAK}s" if value < 10 else f"{value:.0f}{_NO_BREAK}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{_NO_BREAK}min {rest:02}{_NO_BREAK}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{_NO_BREAK}h {minutes:02}{_NO_BREAK}min"


def memory(count: int) -> str:
    """Write bytes in binary units."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= _BYTES_PER_STEP and len(units) > 1:
        value, units = value / _BYTES_PER_STEP, units[1:]
    return (
        f"{value:,.0f}{_NO_BREAK}{units[0]}"
        if value >= 10
        else f"{value:,.1f}{_NO_BREAK}{units[0]}"
    )


def percent(share: float) -> str:
    return f"{share * 100:.0f}{_NO_BREAK}%"


def moment(when: HasSeconds, zone: ZoneInfo, *, now: datetime | None = None) -> str:
    """Write a time in a tenant's time zone; the year only where it is not this one."""
    if when.seconds == 0:
        return _DASH
    local = when.ToDatetime(tzinfo=ZoneInfo("UTC")).astimezone(zone)
    this_year = (now or datetime.now(UTC)).astimezone(zone).year
    year = "" if local.year == this_year else f" {local.year}"
    return f"{local.day} {local:%b}{year}, {local:%H:%M}"


def until(when: HasSeconds, *, now: datetime | None = None) -> str:
    """Write how long it takes until then, such as "in 2 min 10 s"."""
    if when.seconds == 0:
        return "not known yet"
    left = when.ToDatetime(tzinfo=ZoneInfo("UTC")) - (now or datetime.now(UTC))
    if left <= timedelta(seconds=1):
        return "any moment"
    return f"in {seconds(float(round(left.total_seconds())))}"


def iso(when: HasSeconds) -> str:
    """Write a time for programs."""
    return f"{when.ToDatetime(tzinfo=ZoneInfo('UTC')):%Y-%m-%dT%H:%M:%SZ}"


def job_state(state: "JobState.ValueType") -> StateWord:
    return _word(JobState.Name(state).removeprefix("JOB_STATE_"))


def image_state(state: "ImageState.ValueType") -> StateWord:
    return _word(ImageState.Name(state).removeprefix("IMAGE_STATE_"))


def invoice_state(state: "InvoiceState.ValueType") -> StateWord:
    return _word(InvoiceState.Name(state).removeprefix("INVOICE_STATE_"))


def key_state(state: "ApiKeyState.ValueType") -> StateWord:
    return _word(ApiKeyState.Name(state).removeprefix("API_KEY_STATE_"))


def tenant_state(state: "TenantState.ValueType") -> StateWord:
    return _word(TenantState.Name(state).removeprefix("TENANT_STATE_"))


def worker_state(state: "WorkerState.ValueType") -> StateWord:
    return _word(WorkerState.Name(state).removeprefix("WORKER_STATE_"))


def key_role(role: "KeyRole.ValueType") -> str:
    return KeyRole.Name(role).removeprefix("KEY_ROLE_").lower()


def tier(value: "Tier.ValueType") -> str:
    return Tier.Name(value).removeprefix("TIER_").lower()


def output_format(value: "OutputFormat.ValueType") -> str:
    return OutputFormat.Name(value).removeprefix("OUTPUT_FORMAT_")


def budget_period(value: "BudgetPeriod.ValueType") -> str:
    return {
        BudgetPeriod.BUDGET_PERIOD_DAY: "each day",
        BudgetPeriod.BUDGET_PERIOD_MONTH: "each month",
        BudgetPeriod.BUDGET_PERIOD_TOTAL: "in all",
    }.get(value, _DASH)


def budget_enforcement(value: "BudgetEnforcement.ValueType") -> str:
    return "alerts only" if value == BudgetEnforcement.BUDGET_ENFORCEMENT_SOFT else "refuses jobs"


_TONES: Final = {
    "QUEUED": "quiet",
    "RUNNING": "active",
    "STARTING": "active",
    "CANCELLING": "warning",
    "DRAINING": "warning",
    "AWAITING_REVIEW": "warning",
    "QUARANTINED": "warning",
    "SUCCEEDED": "good",
    "PAID": "good",
    "ACTIVE": "good",
    "PARTIALLY_SUCCEEDED": "warning",
    "FAILED": "bad",
    "BLOCKED": "bad",
    "STOPPED": "bad",
    "SUSPENDED": "bad",
    "FINALIZED": "active",
}


def _word(name: str) -> StateWord:
    return StateWord(word=name.replace("_", " ").capitalize(), tone=_TONES.get(name, "quiet"))
