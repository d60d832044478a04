"""What a report of usage may be asked for, as the parameters of its queries."""

from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from metering.energy_source import EnergySource
from metering.usage_records import UsageOutcome
from metering.usage_windows import midnight, usage_window
from tenants.ids import JobId, KeyId, TenantId


class UsageDimension(StrEnum):
    """What sums may be split by."""

    DAY = "DAY"
    MODEL = "MODEL"
    SIZE = "SIZE"
    KEY = "KEY"
    PROJECT = "PROJECT"
    JOB = "JOB"
    OUTCOME = "OUTCOME"
    # The value of one label; empty for images without it.
    LABEL = "LABEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """Which usage; None and an empty ``outcomes`` let everything through.

    Charged from ``start_time`` up to, not including, ``end_time``.
    """

    start_time: datetime | None = None
    end_time: datetime | None = None
    model: str | None = None
    key_id: KeyId | None = None
    project: str | None = None
    job_id: JobId | None = None
    outcomes: tuple[UsageOutcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuestion:
    """What a report is asked for, whatever its page."""

    tenant_id: TenantId
    time_zone: str
    has_days: bool
    group_by: frozenset[UsageDimension]
    chosen: UsageFilter
    label_key: str

    def beginning(self, day: date | None) -> "UsageQuestion":
        """The same from a day on."""
        if day is None:
            return self
        start_time = midnight(day, ZoneInfo(self.time_zone))
        if self.chosen.start_time is not None:
            start_time = max(start_time, self.chosen.start_time)
        return replace(self, chosen=replace(self.chosen, start_time=start_time))

    def ending(self, day: date | None) -> "UsageQuestion":
        """The same up to the end of a day."""
        if day is None:
            return self
        end_time = midnight(day + timedelta(days=1), ZoneInfo(self.time_zone))
        if self.chosen.end_time is not None:
            end_time = min(end_time, self.chosen.end_time)
        return replace(self, chosen=replace(self.chosen, end_time=end_time))

    def parameters(self) -> dict[str, object]:
        """What the queries take, without the page."""
        window = usage_window(
            self.chosen.start_time,
            self.chosen.end_time,
            self.time_zone if self.has_days else None,
            by_day=UsageDimension.DAY in self.group_by,
        )
        dimensions = {
            f"by_{dimension.lower()}": dimension in self.group_by for dimension in UsageDimension
        }
        return (
            conditions(self.tenant_id, self.chosen)
            | asdict(window)
            | dimensions
            | {
                "time_zone": self.time_zone,
                "label_key": self.label_key,
                # From the best to the weakest, as declared.
                "energy_sources": list(EnergySource),
            }
        )


def conditions(tenant_id: TenantId, chosen: UsageFilter) -> dict[str, object]:
    """Filters as the queries take them; None lets everything through."""
    return {
        "tenant_id": tenant_id,
        "start_time": chosen.start_time,
        "end_time": chosen.end_time,
        "model": chosen.model,
        "key_id": chosen.key_id,
        "project": chosen.project,
        "job_id": chosen.job_id,
        "outcomes": list(chosen.outcomes or UsageOutcome),
    }
