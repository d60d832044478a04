"""The worker's process: `python -m services.worker`, ended with SIGTERM.

`python -m services.worker plan --model ...` tells what a model needs instead, and ends; `... fetch`
brings one onto a host with a network.
"""

import signal
import sys

from pydantic import ValidationError

from services.engine.errors import ModelLoadError
from services.log import configure_log
from services.worker.errors import FetchError
from services.worker.plan_command import plan_lines
from services.worker.settings import Settings
from services.worker.worker import Worker


def main() -> None:
    """Run until SIGTERM or SIGINT; finish or hand back what runs, then exit with 0."""
    if sys.argv[1:2] == ["plan"]:
        print_plan()
        return
    if sys.argv[1:2] == ["fetch"]:
        print_fetch()
        return
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


def print_plan() -> None:
    """What `plan` on the command line asks for."""
    try:
        for line in plan_lines(sys.argv[2:]):
            print(line)
    except ModelLoadError as error:
        sys.exit(f"atelier-worker plan: {error}")


def print_fetch() -> None:
    """What `fetch` on the command line does; its library is loaded for it alone."""
    from services.worker.fetch_command import fetch_lines  # noqa: PLC0415

    try:
        for line in fetch_lines(sys.argv[2:]):
            print(line)
    except FetchError as error:
        sys.exit(f"atelier-worker fetch: {error}")


if __name__ == "__main__":
    main()
