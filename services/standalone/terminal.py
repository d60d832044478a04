"""What the person at the terminal reads: one line per fact, with the time."""

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.markup import escape


class Terminal:
    """Writes to standard error, so that what a program prints stays apart; quiet in the demo."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._quiet = quiet

    def tell(self, line: str) -> None:
        """A fact of the ordinary course; left out when quiet."""
        if not self._quiet:
            self._print(f"[dim]{escape(line)}[/dim]")

    def say(self, line: str) -> None:
        """What the person must know."""
        self._print(escape(line))

    def warn(self, line: str) -> None:
        self._print(f"[yellow]{escape(line)}[/yellow]")

    def _print(self, markup: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')} {markup}")
