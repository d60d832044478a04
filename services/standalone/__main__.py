"""Everything on one machine: `python -m services.standalone up` (`make up`), `… demo`."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from database.errors import DatabaseError
from services.jobs.errors import CatalogueError
from services.standalone.demo import run_demo
from services.standalone.descendants import kill_descendants
from services.standalone.errors import StandaloneError
from services.standalone.settings import Settings
from services.standalone.stop_signals import StopRequested, stop_signals
from services.standalone.terminal import Terminal
from services.standalone.up import run_up

# As a shell tells it of a program that Ctrl-C ended.
_INTERRUPTED = 130


def main() -> None:
    """Run what the command line asks for."""
    arguments = _parser().parse_args()
    terminal = Terminal(quiet=arguments.command == "demo")
    try:
        settings = _settings(arguments)
        with stop_signals(at_the_second=kill_descendants):
            sys.exit(_run(arguments, settings, terminal))
    except (StandaloneError, DatabaseError, CatalogueError, ValidationError) as error:
        terminal.warn(str(error))
        sys.exit(1)


def _run(arguments: argparse.Namespace, settings: Settings, terminal: Terminal) -> int:
    if arguments.command == "demo":
        try:
            return run_demo(settings, terminal, output=arguments.output)
        except StopRequested:
            terminal.say("interrupted; everything is stopped")
            return _INTERRUPTED
    try:
        run_up(settings, terminal)
    except StopRequested:
        terminal.say("everything is stopped; the data stay where they are")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.standalone", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run everything until Ctrl-C")
    up.add_argument("--data-directory", type=Path, help="what survives (default: .atelier)")
    up.add_argument("--port", type=int, help="of the gateway (default: 7431; 0: any free one)")
    demo = commands.add_parser("demo", help="draw and bill the batches of two studios, then stop")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="for the pictures")
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
