"""The gateway's process: `python -m services.gateway`, `atelier-gateway`.

`atelier-gateway` serves until SIGTERM or SIGINT; `atelier-gateway bootstrap` makes the first
operator's key and prints it, once.
"""

import argparse
import asyncio
import signal
import sys

import structlog
from pydantic import ValidationError

from database.pool import UNREACHABLE_ERRORS
from services.gateway.bootstrap import make_first_operator_key
from services.gateway.errors import AddressTakenError, OperatorKeyExistsError
from services.gateway.identity.errors import IssuersError
from services.gateway.serving import serving
from services.gateway.settings import Settings, load_key_settings, load_settings
from services.jobs.errors import CatalogueError
from services.liveness.event_loop import run_watched
from services.log import configure_log
from tenants.errors import TenantError

log = structlog.get_logger()


def main() -> None:
    """Serve, or make the first operator's key."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=["serve", "bootstrap"], default="serve")
    parser.add_argument(
        "--another", action="store_true", help="bootstrap: although there is a key already"
    )
    arguments = parser.parse_args()
    try:
        if arguments.command == "bootstrap":
            _bootstrap(another=arguments.another)
        else:
            _serve()
    except (
        ValidationError,
        CatalogueError,
        IssuersError,
        TenantError,
        AddressTakenError,
        OperatorKeyExistsError,
        OSError,
        *UNREACHABLE_ERRORS,
    ) as error:
        sys.exit(f"atelier-gateway: {error}")


def _bootstrap(*, another: bool) -> None:
    settings = load_key_settings()
    key = asyncio.run(
        make_first_operator_key(
            settings.operator_database_url.get_secret_value(),
            pepper=settings.key_pepper.get_secret_value().encode(),
            another=another,
        )
    )
    print(key)


def _serve() -> None:
    configure_log("gateway")
    run_watched(_serve_until_told_to_stop(load_settings()))


async def _serve_until_told_to_stop(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings) as port:
        log.info("serving", address=settings.listen_address, port=port)
        await stop.wait()
        log.info("draining")
    log.info("gateway_ended")


if __name__ == "__main__":
    main()
