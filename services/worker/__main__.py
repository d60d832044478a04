"""The worker's process: `python -m services.worker`, ended with SIGTERM."""

import signal
import sys

from pydantic import ValidationError

from services.engine.errors import ModelLoadError
from services.log import configure_log
from services.worker.settings import Settings
from services.worker.worker import Worker


def main() -> None:
    """Run until SIGTERM or SIGINT; finish or hand back what runs, then exit with 0."""
    configure_log("worker")
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue] - from the environment
    except ValidationError as error:
        sys.exit(f"atelier-worker: {error}")
    try:
        worker = Worker(settings)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda _number, _frame: worker.stop())
        worker.run()
    except ModelLoadError as error:
        sys.exit(f"atelier-worker: {error}")


if __name__ == "__main__":
    main()
