"""A worker's session without a worker: its heartbeats are real, its pictures are drawn here."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from secrets import token_hex

from PIL import Image

from services.transport.callees import Callee, socket_callee
from services.worker.attendance import Attendance
from services.worker.in_flight import InFlight
from services.worker.recorder_client import RecorderClient
from services.worker.work import Beat, ClaimedWork, HeldAttempt, Outcome, Result, Truth
from tests.integration.installation import MODEL, eventually


class Session:
    """What a worker says, as a test wants it said."""

    def __init__(
        self,
        place: Path | Callee,
        *,
        gpu_id: str = "cpu-0",
        session_id: str | None = None,
        heartbeat_seconds: float = 0.1,
        model: str = MODEL,
    ) -> None:
        self.session_id = session_id or token_hex(8)
        self.held = InFlight()
        self.garbage_tokens = 0
        self.truth: Truth | None = None
        self.client = RecorderClient(
            socket_callee(place) if isinstance(place, Path) else place,
            session_id=self.session_id,
            model=model,
            gpu_id=gpu_id,
            process_id=1,
            precision="fp32 cpu",
        )
        self._attendance = Attendance(
            self.client,
            heartbeat_seconds=heartbeat_seconds,
            beat=self._beat,
            take_truth=self._take,
        )
        self._attendance.start()

    def close(self) -> None:
        """Say good-bye."""
        self._attendance.close()
        self.client.close()

    async def heard(self, such: Callable[[Truth], bool] = lambda _truth: True) -> Truth:
        """Wait for a truth of which something holds; what is on its way may be older than now."""

        async def told() -> Truth | None:
            self.truth = None
            self._attendance.hasten()
            truth = await self._next_truth()
            return truth if such(truth) else None

        return await eventually(told, what="a truth that was to come")

    async def told(self) -> Truth:
        """Wait for the next truth without asking for it."""
        self.truth = None
        return await self._next_truth()

    async def _next_truth(self) -> Truth:

        async def told() -> Truth | None:
            return self.truth

        return await eventually(told, what="a heartbeat's answer")

    async def claim(self) -> ClaimedWork:
        """Claim as a worker with nothing in flight; there must be an image."""
        await self.heard()
        work = await asyncio.to_thread(
            self.client.claim, interactive_only=False, nothing_in_flight=True
        )
        assert work is not None
        self.held.add(work.held)
        return work

    async def finish(self, result: Result) -> bool:
        """Tell an attempt's end; it is held until that was heard."""
        accepted = await asyncio.to_thread(self.client.finish, result)
        self.held.remove(result.held.key)
        return accepted

    def _beat(self) -> Beat:
        return Beat(
            ready=True,
            batch_slots_free=1,
            interactive_slots_free=1,
            waiting_tokens=0,
            engine_step_counter=0,
            garbage_tokens=self.garbage_tokens,
            progress=self.held.progress(),
        )

    def _take(self, truth: Truth) -> None:
        self.truth = truth


def png(*, size: int = 64, shade: int = 100) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (size, size), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def drawn(held: HeldAttempt, *, picture: bytes | None = None) -> Result:
    """The result of an attempt that went well."""
    return Result(
        held=held,
        outcome=Outcome.PICTURE,
        began_step=True,
        batch_shares=[(1, 2)],
        gpu_seconds=0.5,
        queue_seconds=0.1,
        picture=png() if picture is None else picture,
        content_type="image/png",
    )


def ended(held: HeldAttempt, outcome: Outcome) -> Result:
    """The result of an attempt without a picture."""
    reason = "STEP_FAILED" if outcome is Outcome.FAILED else ""
    return replace(
        drawn(held, picture=b""), outcome=outcome, failure_reason=reason, content_type=""
    )
