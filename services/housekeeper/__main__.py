"""The housekeeper's process: `python -m services.housekeeper`, `atelier-housekeeper`."""

import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager

import structlog
from pydantic import ValidationError

from database.pool import UNREACHABLE_ERRORS, Pool, open_pool
from database.secrets_directory import secrets_directory
from services.housekeeper.duties import Parts, make_duties, make_parts
from services.housekeeper.duty import keep_doing
from services.housekeeper.duty_tally import DutyTally
from services.housekeeper.metrics import housekeeper_exposition
from services.housekeeper.settings import Settings
from services.liveness.event_loop import run_watched
from services.log import configure_log
from services.metrics.database_looks import DatabaseLook, only_ask, serving_with_database

log = structlog.get_logger()

# Each duty holds one connection for its lock while it works with another.
_CONNECTIONS_MAX = 16


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    configure_log("housekeeper")
    try:
        settings = Settings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]
        run_watched(_run(settings))
    except (ValidationError, *UNREACHABLE_ERRORS) as error:
        sys.exit(f"atelier-housekeeper: {error}")


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_pool(
        settings.database_url.get_secret_value(),
        size_max=_CONNECTIONS_MAX,
        application_name="housekeeper",
    ) as pool:
        parts = make_parts(settings, pool)
        duties = make_duties(settings, pool, parts)
        tally = DutyTally()
        async with _serving_metrics(settings, pool, parts, tally):
            log.info("housekeeper_started", duties=[duty.name for duty in duties])
            await asyncio.gather(
                *(keep_doing(duty, pool=pool, tally=tally, stop=stop) for duty in duties)
            )
    log.info("housekeeper_ended")


def _serving_metrics(
    settings: Settings, pool: Pool, parts: Parts, tally: DutyTally
) -> AbstractAsyncContextManager[None]:
    database = DatabaseLook(only_ask)
    exposition = housekeeper_exposition(
        duties=tally,
        lost_work=parts.lost_work,
        missing_tokens=parts.missing_tokens,
        invariants=parts.invariants,
        database=database,
        pool=pool,
    )
    address = settings.metrics_listen_address
    return serving_with_database(exposition, address, look=database, pool=pool)


if __name__ == "__main__":
    main()
