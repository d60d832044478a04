"""Calls counted for the operator: by method and code, by reason of refusal, and how long they took.

Methods, codes and reasons are the contract's words, so a caller can add none.
"""

from collections import Counter
from typing import Final

from atelier.v1.errors_pb2 import ErrorReason
from services.gateway.error_statuses import reason_name
from services.metrics import names
from services.metrics.exposition import make_histogram
from services.metrics.metric import Sample, counted

# What has not been refused yet counts 0, so that the first refusal is seen as one.
_REASONS: Final = tuple(reason_name(reason) for reason in ErrorReason.values() if reason)
_BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class CallTally:
    """What the guard has let through and refused since the gateway started."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter(dict.fromkeys(_REASONS, 0))
        self.seconds: Final = make_histogram(names.CALL_SECONDS, bounds=_BOUNDS_SECONDS)

    def note(self, method: str, *, code: str, reason: str) -> None:
        """Count a call that ended; ``method`` is the path, ``reason`` empty unless refused."""
        self._ended[_short(method), code] += 1
        if reason:
            self._refused[reason] += 1

    def note_seconds(self, method: str, seconds: float) -> None:
        """Count how long a call took that has one answer."""
        self.seconds.labels(_short(method)).observe(seconds)

    def samples(self) -> list[Sample]:
        """Return the counts; called by other threads."""
        ended = dict(self._ended)
        return [
            *(Sample(names.CALLS, count, labels) for labels, count in ended.items()),
            *counted(names.CALL_REFUSALS, self._refused),
        ]


def _short(method: str) -> str:
    """Turn /atelier.v1.JobService/CreateJob into JobService/CreateJob."""
    service, _, call = method.rpartition("/")
    return f"{service.rpartition('.')[2]}/{call}"
