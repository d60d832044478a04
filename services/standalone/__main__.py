"""Everything on one machine: `python -m services.standalone up` (`make up`), `… demo`."""

import argparse
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from atelier.errors import AtelierError
from database.errors import DatabaseError
from database.pool import UNREACHABLE_ERRORS
from services.jobs.errors import CatalogueError
from services.standalone.demo.run import demo_settings, run_demo
from services.standalone.descendants import kill_descendants
from services.standalone.errors import StandaloneError
from services.standalone.settings import REPOSITORY, Settings
from services.standalone.stop_signals import StopRequested, stop_signals, stop_when_input_ends
from services.standalone.terminal import Terminal
from services.standalone.up import run_up

# As a shell tells it of a program that Ctrl-C ended.
_INTERRUPTED = 130


def main() -> None:
    """Run what the command line asks for."""
    arguments = _parser().parse_args()
    terminal = Terminal(quiet=arguments.command == "demo")
    try:
        with stop_signals(at_the_second=kill_descendants):
            if arguments.command == "demo":
                _demo(arguments, terminal)
            else:
                if arguments.while_stdin_is_open:
                    stop_when_input_ends()
                run_up(_settings(arguments), terminal)
    except StopRequested:
        terminal.say("Everything is stopped.")
        sys.exit(0 if arguments.command == "up" else _INTERRUPTED)
    except (
        StandaloneError,
        DatabaseError,
        CatalogueError,
        ValidationError,
        AtelierError,
        *UNREACHABLE_ERRORS,
    ) as error:
        terminal.warn(str(error))
        sys.exit(1)


def _demo(arguments: argparse.Namespace, terminal: Terminal) -> None:
    run_demo(
        demo_settings(_settings(arguments), cores=len(os.sched_getaffinity(0))),
        terminal,
        output=arguments.output,
        csv_path=arguments.campaign,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.standalone", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run everything until Ctrl-C")
    up.add_argument("--data-directory", type=Path, help="what survives (default: .atelier)")
    up.add_argument("--port", type=int, help="of the gateway (default: 7431; 0: any free one)")
    up.add_argument(
        "--while-stdin-is-open",
        action="store_true",
        help="stop when standard input ends: with whoever started this, however that ends",
    )
    demo = commands.add_parser("demo", help="draw and bill the batches of two studios, then stop")
    demo.add_argument(
        "--data-directory",
        type=Path,
        default=REPOSITORY / ".atelier" / "demo",
        help="emptied first (default: .atelier/demo)",
    )
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="for the pictures")
    campaign = REPOSITORY / "examples" / "campaign.csv"
    demo.add_argument("--campaign", type=Path, default=campaign, help="CSV with a prompt per line")
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {
        name: value
        for name in ("data_directory", "port")
        if (value := getattr(arguments, name, None)) is not None
    }
    return Settings(**given)


if __name__ == "__main__":
    main()
