"""The one switch that turns a gateway from serving to stopping."""

import asyncio

from services.gateway.errors import draining


class Drain:
    """Whether this replica is stopping; streams wait on it beside their own news."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """Refuse new calls from now on and end the streams."""
        self._begun.set()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def refuse_if_begun(self) -> None:
        """Let a call pass while the gateway serves.

        Raises:
            CallRefusedError: DRAINING.
        """
        if self._begun.is_set():
            raise draining()
