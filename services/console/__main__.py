"""The console's process: `python -m services.console`, `atelier-console`."""

import sys

import structlog
import uvicorn
from pydantic import ValidationError

from services.console.application import build_application
from services.console.settings import Settings, load_settings
from services.liveness.event_loop import run_watched
from services.log import configure_log

log = structlog.get_logger()

# Streams of open pages would hold a stop up for ever.
_STOP_SECONDS = 3


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_log("console")
    try:
        settings = load_settings()
    except ValidationError as error:
        sys.exit(f"atelier-console: {error}")
    run_watched(server(settings).serve())


def server(settings: Settings) -> uvicorn.Server:
    """Make the server, with bounds on what a client may keep open."""
    host, port = settings.host_and_port
    return uvicorn.Server(
        uvicorn.Config(
            build_application(settings),
            host=host,
            port=port,
            ssl_certfile=settings.tls_certificate_path,
            ssl_keyfile=settings.tls_key_path,
            http="h11",
            ws="none",
            lifespan="on",
            # The gateway logs each call; addresses here may carry what people look for.
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=32 * 1024,
            limit_concurrency=2000,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


if __name__ == "__main__":
    main()
