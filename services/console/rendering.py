"""Templates into pages. Everything a template writes is escaped."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from atelier.money import format_money
from atelier.names import last_id
from services.console import words

HERE: Final = Path(__file__).resolve().parent
STATIC_FILES: Final = HERE / "static"
_FILTERS: Final = {
    "money": words.money,
    "exact_money": format_money,
    "energy": words.energy,
    "energy_interval": words.energy_interval,
    "energy_source": words.energy_source,
    "number": words.number,
    "seconds": words.seconds,
    "memory": words.memory,
    "percent": words.percent,
    "quantity": words.quantity,
    "until": words.until,
    "iso": words.iso,
    "job_state": words.job_state,
    "image_state": words.image_state,
    "invoice_state": words.invoice_state,
    "key_state": words.key_state,
    "key_role": words.key_role,
    "tenant_state": words.tenant_state,
    "worker_state": words.worker_state,
    "tier": words.tier,
    "output_format": words.output_format,
    "budget_period": words.budget_period,
    "budget_enforcement": words.budget_enforcement,
    "last_id": last_id,
}


class Renderer:
    """Makes HTML of templates; one for the process."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        # jinja2 does not say what lies in these two.
        cast("dict[str, object]", self._environment.filters).update(_FILTERS, moment=_moment)
        cast("dict[str, object]", self._environment.globals)["static"] = STATIC_ADDRESS

    def render(self, template: str, **values: object) -> str:
        return self._environment.get_template(template).render(values)


@pass_context
def _moment(context: Context, when: words.HasSeconds) -> str:
    """Write a time in the time zone of whoever looks."""
    zone = cast("ZoneInfo", context.resolve("zone"))
    now = cast("datetime | Any", context.get("now"))
    return words.moment(when, zone, now=now)


def _static_version() -> str:
    """Name the static files by what is in them, so that browsers may keep them for good."""
    digest = hashlib.sha256()
    for path in sorted(STATIC_FILES.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


STATIC_ADDRESS: Final = f"/static/{_static_version()}"
