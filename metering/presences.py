"""The workers on one GPU, one after the other, and up to when what they did is decided.

Everything up to the *settled* moment is decided: no mark for it is accepted any more. While a
worker is heard, that is its watermark; a worker silent for two seconds loses its time to its
tenant's overhead.

Pure: the clock is an argument. All times are CLOCK_MONOTONIC in nanoseconds.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from metering.errors import DeviceTakenError
from metering.power import SegmentKind
from metering.presence import Mark, Presence
from tenants.ids import SessionId, TenantId

_SECOND_NANOS: Final = 1_000_000_000
# A worker that says nothing for so long is not waited for.
_SILENCE_NANOS: Final = 2 * _SECOND_NANOS
# No load, compile or step takes longer; a watermark that lags so far behind is not believed.
_MARK_NANOS_MAX: Final = 3600 * _SECOND_NANOS
# Marks of one session that wait for readings or for its watermark; the rest is refused.
_PENDING_MARKS_MAX: Final = 20_000
# When the meter itself did not look for so long, it cannot blame a worker for its silence.
_OWN_STALL_NANOS: Final = 1 * _SECOND_NANOS


class Presences:
    """Who was and who is on a GPU, as far as segments are not closed yet."""

    def __init__(self, from_nanos: int) -> None:
        self._presences: list[Presence] = []
        self._settled_nanos = from_nanos
        self._looked_nanos = from_nanos

    def __iter__(self) -> Iterator[Presence]:
        """In order of time."""
        return iter(self._presences)

    @property
    def settled_nanos(self) -> int:
        return self._settled_nanos

    @property
    def present(self) -> Presence | None:
        """The worker that is there."""
        if self._presences and self._presences[-1].end_nanos is None:
            return self._presences[-1]
        return None

    def adopt(self, before: Presence, *, now_nanos: int) -> None:
        """Go on with the session of an earlier epoch; its marks for the time before are refused."""
        self._begin(
            before.session_id, before.tenant_id, now_nanos=now_nanos, earliest_nanos=now_nanos
        )
        adopted = self._presences[-1]
        adopted.stream_count = before.stream_count
        adopted.broken_nanos = before.broken_nanos
        adopted.closed_mark_number = max([before.closed_mark_number, *before.numbers])

    def arrive(
        self, session_id: SessionId, tenant_id: TenantId, *, now_nanos: int, earliest_nanos: int
    ) -> None:
        """Take note of a worker's stream whose first message speaks of ``earliest_nanos`` on.

        Raises:
            DeviceTakenError: Another tenant's worker is there; a device belongs to one at a time.
        """
        self.settle(now_nanos)
        present = self.present
        # The tenant too: a session is whatever its worker says, and may be another tenant's.
        speaker = (tenant_id, session_id)
        if present is not None and (present.tenant_id, present.session_id) == speaker:
            present.stream_count += 1
            present.heard_nanos = now_nanos
            return
        if present is not None:
            if present.tenant_id != tenant_id and present.stream_count:
                raise DeviceTakenError("a worker of another tenant is on this device")
            self._end(present, now_nanos if present.stream_count else present.broken_nanos)
        self._begin(session_id, tenant_id, now_nanos=now_nanos, earliest_nanos=earliest_nanos)

    def hear(
        self,
        session_id: SessionId,
        marks: Sequence[Mark],
        *,
        watermark_nanos: int,
        now_nanos: int,
    ) -> int:
        """Take a message of a session that arrived; return how many of its marks were refused."""
        self.settle(now_nanos)
        present = self.present
        if present is None or present.session_id != session_id:
            return len(marks)
        refused_count = sum(
            not self._accept(present, mark, now_nanos=now_nanos)
            for mark in marks
            if not present.knows(mark.number)
        )
        present.heard_nanos = now_nanos
        present.watermark_nanos = max(present.watermark_nanos, min(watermark_nanos, now_nanos))
        self.settle(now_nanos)
        return refused_count

    def leave(self, session_id: SessionId, *, now_nanos: int, orderly: bool) -> None:
        """Take note that a stream ended: by the worker's own wish, or broken."""
        present = self.present
        if present is None or present.session_id != session_id:
            return
        present.stream_count -= 1
        present.broken_nanos = now_nanos
        if orderly and not present.stream_count:
            self._end(present, present.watermark_nanos)

    def settle(self, now_nanos: int) -> None:
        """Move the settled moment on; it never goes back."""
        stall_nanos = now_nanos - self._looked_nanos
        self._looked_nanos = max(self._looked_nanos, now_nanos)
        present = self.present
        if present is not None and stall_nanos > _OWN_STALL_NANOS:
            present.heard_nanos += stall_nanos
        given_up_nanos = now_nanos - _SILENCE_NANOS
        if present is None:
            settled_nanos = given_up_nanos
        elif present.heard_nanos >= given_up_nanos:
            present.be_silent(until_nanos=now_nanos - _MARK_NANOS_MAX)
            settled_nanos = present.watermark_nanos
        elif present.stream_count:
            present.be_silent(until_nanos=given_up_nanos)
            settled_nanos = present.watermark_nanos
        else:
            self._end(present, present.broken_nanos)
            settled_nanos = given_up_nanos
        self._settled_nanos = max(self._settled_nanos, settled_nanos)

    def finish(self, end_nanos: int) -> None:
        """Settle all up to a last reading; what still runs is given up as SILENT."""
        if (present := self.present) is not None:
            self._end(present, max(end_nanos, present.watermark_nanos))
        self._settled_nanos = max(self._settled_nanos, end_nanos)
        for presence in self._presences:
            presence.give_up_after(end_nanos)

    def forget_before(self, edge_nanos: int) -> list[Mark]:
        """Drop what lies in closed segments; return the workers' own marks among it."""
        closed = [
            mark
            for presence in self._presences
            for mark in presence.marks
            if mark.number and mark.end_nanos <= edge_nanos
        ]
        for presence in self._presences:
            presence.forget_before(edge_nanos)
        self._presences = [
            presence
            for presence in self._presences
            if presence is self._presences[-1]
            or presence.end_nanos is None
            or presence.end_nanos > edge_nanos
        ]
        return closed

    def _accept(self, present: Presence, mark: Mark, *, now_nanos: int) -> bool:
        if mark.end_nanos > now_nanos or len(present.marks) >= _PENDING_MARKS_MAX:
            return False
        if mark.start_nanos >= max(self._settled_nanos, present.start_nanos):
            present.add(mark)
            return True
        rest = max(self._settled_nanos, mark.start_nanos)
        if mark.end_nanos > rest:
            # What is left of a refused mark was no idleness: its tenant's overhead.
            present.add(Mark(rest, mark.end_nanos, mark.number, SegmentKind.SILENT))
        present.numbers.add(mark.number)
        return False

    def _begin(
        self, session_id: SessionId, tenant_id: TenantId, *, now_nanos: int, earliest_nanos: int
    ) -> None:
        before = self._presences[-1] if self._presences else None
        known_end = before.end_nanos if before and before.end_nanos is not None else 0
        start_nanos = max(self._settled_nanos, known_end, min(earliest_nanos, now_nanos))
        presence = Presence(
            session_id=session_id,
            tenant_id=tenant_id,
            start_nanos=start_nanos,
            watermark_nanos=start_nanos,
            heard_nanos=now_nanos,
        )
        if before is not None and before.session_id == session_id:
            presence.closed_mark_number = max([before.closed_mark_number, *before.numbers])
        self._presences.append(presence)

    def _end(self, present: Presence, end_nanos: int) -> None:
        present.be_silent(until_nanos=end_nanos)
        marks_end_nanos = max((mark.end_nanos for mark in present.marks), default=0)
        present.end_nanos = max(end_nanos, present.watermark_nanos, marks_end_nanos)
