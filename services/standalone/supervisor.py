"""Keeps the installation's processes running, and ends them in the order that loses nothing."""

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.standalone.terminal import Terminal
from tenants.launchers.child_process import (
    ChildProcess,
    is_running,
    kill_group,
    send,
    start_child,
    wait_for_end,
)
from tenants.launchers.restarts import Restarts

_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOrder:
    """One of our processes: `python -m services.<name>`."""

    name: str
    environment: Mapping[str, str]
    # How long it may drain before it is killed.
    patience_seconds: float


@dataclass(slots=True, kw_only=True)
class _Kept:
    order: ProcessOrder
    child: ChildProcess | None = None
    restarts: Restarts = field(default_factory=Restarts)


class Supervisor:
    """The processes by name; call it from the main thread, whose end ends them."""

    def __init__(
        self, orders: Sequence[ProcessOrder], *, log_directory: Path, terminal: Terminal
    ) -> None:
        self._kept = {order.name: _Kept(order=order) for order in orders}
        self._log_directory = log_directory
        self._terminal = terminal

    @property
    def process_ids(self) -> dict[str, int]:
        """Of those that run, by name."""
        return {name: kept.child.pid for name, kept in self._kept.items() if kept.child is not None}

    def log_path(self, name: str) -> Path:
        return self._log_directory / f"{name}.log"

    def look_after(self) -> None:
        """Start what is missing, and what died once its waiting time is over."""
        now = time.monotonic()
        for kept in self._kept.values():
            if kept.child is not None and not is_running(kept.child):
                kept.child = None
                wait_seconds = kept.restarts.died(now)
                self._terminal.warn(
                    f"{kept.order.name} died and starts again in {wait_seconds:g} s; "
                    f"its log: {self.log_path(kept.order.name)}"
                )
            if kept.child is None and kept.restarts.may_start(now):
                self._start(kept, now)

    def stop(self, *names: str) -> None:
        """Ask these to end, all at once; kill those that take longer than they may."""
        kept = [self._kept.pop(name) for name in names if name in self._kept]
        running = [(one.order, one.child) for one in kept if one.child is not None]
        start = time.monotonic()
        for _, child in running:
            send(child, signal.SIGTERM)
        for order, child in running:
            left_seconds = max(start + order.patience_seconds - time.monotonic(), 0.0)
            if not wait_for_end(child, timeout_seconds=left_seconds):
                self._terminal.warn(f"{order.name} did not end in time and was killed")
                kill_group(child)
                wait_for_end(child, timeout_seconds=_KILL_SECONDS)

    def _start(self, kept: _Kept, now: float) -> None:
        kept.child = start_child(
            [sys.executable, "-m", f"services.{kept.order.name}"],
            environment=kept.order.environment,
            log_path=self.log_path(kept.order.name),
            death_signal=signal.SIGTERM,
        )
        kept.restarts.started(now)
        self._terminal.tell(f"{kept.order.name} runs as process {kept.child.pid}")
