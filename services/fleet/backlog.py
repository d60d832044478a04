"""Images that wait, in GPU-seconds: what they will take, going by what pictures took before."""

from collections.abc import Iterable, Mapping
from typing import Final

from services.fleet.fleet_store import BacklogRow

_GIGA: Final = 1e9
# Of an image that is being drawn about half is left.
_LEFT_OF_RUNNING: Final = 0.5


class BacklogEstimate:
    """Turns counts of images into GPU-seconds by tenant and model."""

    def __init__(self, *, picture_seconds_before_measured: float) -> None:
        self._picture_seconds = picture_seconds_before_measured
        # GPU-seconds for a billion pixel-steps by model.
        self.speeds: Mapping[str, float] = {}

    def seconds_by_tenant(self, backlog: Iterable[BacklogRow]) -> dict[str, dict[str, float]]:
        """Return GPU-seconds by tenant, then model; never 0 while an image is open."""
        seconds: dict[str, dict[str, float]] = {}
        for row in backlog:
            of_tenant = seconds.setdefault(row.tenant_id, {})
            of_tenant[row.model] = of_tenant.get(row.model, 0.0) + self._seconds(row)
        return seconds

    def _seconds(self, row: BacklogRow) -> float:
        pictures = row.queued_count + _LEFT_OF_RUNNING * row.running_count
        speed = self.speeds.get(row.model)
        if speed is None:
            return pictures * self._picture_seconds
        return pictures * speed * row.width * row.height * row.num_inference_steps / _GIGA
