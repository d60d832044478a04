"""The fleet's decisions under a virtual clock: many tenants and devices, hours in seconds.

Only the workers are imagined: they drain, load and draw for seeded random times. What decides is
`Allocation`, the same object that decides on a host.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Final

from services.fleet.allocation import Allocation, AllocationRules, Occupant
from services.fleet.cold_starts import ColdStarts
from services.fleet.posts import Demand, Post

MODEL: Final = "model"
_MORNING: Final = datetime(2026, 1, 1, 8, tzinfo=UTC)
# An H200 draws a picture in about 5 s; what runs when a worker is asked to leave is finished.
_DRAIN_SECONDS: Final = (1.0, 8.0)
_COLD_START_SECONDS: Final = (12.0, 28.0)


@dataclass(slots=True, kw_only=True)
class SimulatedTenant:
    """What one tenant orders and gets."""

    tenant_id: str
    weight: float = 1.0
    # It always has so much waiting, in GPU-seconds; 0: only what its jobs bring.
    standing_backlog_seconds: float = 0.0
    # Seconds between the jobs it sends, and GPU-seconds of each.
    job_interval_seconds: float = 0.0
    job_seconds: float = 0.0
    # It cancels a job this long after sending it; 0: never.
    cancels_after_seconds: float = 0.0

    waiting_seconds: float = 0.0
    drawn_seconds: float = 0.0
    seconds_with_work: float = 0.0
    # The longest time it had work and no device.
    longest_wait_seconds: float = 0.0
    restrained_seconds: float = 0.0
    wait_seconds: float = 0.0
    cancel_time: float = float("inf")

    @property
    def backlog_seconds(self) -> float:
        return max(self.standing_backlog_seconds, self.waiting_seconds)


@dataclass(slots=True, kw_only=True)
class _Device:
    occupant: Occupant | None = None
    # When the worker on it has left; set once it was asked to.
    leave_time: float | None = None
    ready_time: float = 0.0


@dataclass(slots=True, kw_only=True)
class SimulatedFleet:
    """Devices and tenants; `run` may be called again and again."""

    tenants: Sequence[SimulatedTenant]
    device_count: int
    seed: int
    rules: AllocationRules = field(default_factory=AllocationRules)
    tick_seconds: float = 1.0

    now: float = 0.0
    takeover_count: int = 0
    loading_seconds: float = 0.0
    idle_seconds: float = 0.0
    _random: Random = field(init=False)
    _allocation: Allocation = field(init=False)
    _devices: dict[str, _Device] = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 -- a simulation shall repeat itself
        cold_starts = ColdStarts(seconds_before_measured=20.0)
        self._allocation = Allocation(self.rules, cold_starts)
        self._devices = {f"gpu-{number}": _Device() for number in range(self.device_count)}

    @property
    def dwell_seconds(self) -> float:
        """The dwell that the measured cold starts ask for."""
        cold_start_seconds = self._allocation.cold_starts.expected_seconds(MODEL)
        return max(
            self.rules.dwell_seconds_min, self.rules.dwell_per_cold_start * cold_start_seconds
        )

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self._order()
            self._decide()
            self._work()
            self.now += self.tick_seconds

    def _order(self) -> None:
        for tenant in self.tenants:
            if self.now >= tenant.cancel_time:
                tenant.waiting_seconds, tenant.cancel_time = 0.0, float("inf")
            if not tenant.job_interval_seconds:
                continue
            if self._random.random() < self.tick_seconds / tenant.job_interval_seconds:
                tenant.waiting_seconds += tenant.job_seconds
                if tenant.cancels_after_seconds:
                    tenant.cancel_time = self.now + tenant.cancels_after_seconds

    def _decide(self) -> None:
        occupants = {
            gpu_id: device.occupant
            for gpu_id, device in self._devices.items()
            if device.occupant is not None
        }
        placement = self._allocation.decide(
            gpu_ids=list(self._devices),
            demands=[_demand(tenant) for tenant in self.tenants],
            occupants=occupants,
            now=self.now,
        )
        self.takeover_count += len(placement.takeovers)
        wanted = {post.gpu_id: post for post in placement.posts}
        for gpu_id, device in self._devices.items():
            self._move(device, wanted.get(gpu_id))

    def _move(self, device: _Device, wanted: Post | None) -> None:
        """Ask a worker to leave, see it leave, start the next."""
        occupant = device.occupant
        if occupant is not None and occupant.post != wanted and device.leave_time is None:
            device.leave_time = self.now + self._random.uniform(*_DRAIN_SECONDS)
        if device.leave_time is not None and self.now >= device.leave_time:
            device.occupant = device.leave_time = None
        if device.occupant is None and wanted is not None:
            device.occupant = Occupant(post=wanted, start_time=self.now)
            device.ready_time = self.now + self._random.uniform(*_COLD_START_SECONDS)

    def _work(self) -> None:
        by_id = {tenant.tenant_id: tenant for tenant in self.tenants}
        drawing: set[str] = set()
        for device in self._devices.values():
            if device.occupant is None:
                self.idle_seconds += self.tick_seconds
            elif self._is_ready(device):
                tenant = by_id[device.occupant.post.tenant_id]
                drawing.add(tenant.tenant_id)
                self._draw(tenant)
            else:
                drawing.add(device.occupant.post.tenant_id)
                self.loading_seconds += self.tick_seconds
        for tenant in self.tenants:
            self._count_waiting(tenant, has_device=tenant.tenant_id in drawing)

    def _is_ready(self, device: _Device) -> bool:
        occupant = device.occupant
        assert occupant is not None
        if occupant.ready_time is None and self.now >= device.ready_time:
            device.occupant = Occupant(
                post=occupant.post, start_time=occupant.start_time, ready_time=self.now
            )
            self._allocation.cold_starts.note(MODEL, self.now - occupant.start_time)
        return device.occupant is not None and device.occupant.ready_time is not None

    def _draw(self, tenant: SimulatedTenant) -> None:
        if tenant.backlog_seconds <= 0:
            self.idle_seconds += self.tick_seconds
            return
        tenant.waiting_seconds = max(tenant.waiting_seconds - self.tick_seconds, 0.0)
        if tenant.cancels_after_seconds:
            # It cancels in the end, so nothing of it becomes a picture.
            self._allocation.burn_limit.note_burnt(
                tenant.tenant_id, self.tick_seconds, now=self.now
            )
            return
        tenant.drawn_seconds += self.tick_seconds
        self._allocation.burn_limit.note_drawn(tenant.tenant_id, self.tick_seconds, now=self.now)

    def _count_waiting(self, tenant: SimulatedTenant, *, has_device: bool) -> None:
        if tenant.tenant_id in self._allocation.restrained_tenants:
            tenant.restrained_seconds += self.tick_seconds
        if tenant.backlog_seconds <= 0:
            tenant.wait_seconds = 0.0
            return
        tenant.seconds_with_work += self.tick_seconds
        tenant.wait_seconds = 0.0 if has_device else tenant.wait_seconds + self.tick_seconds
        tenant.longest_wait_seconds = max(tenant.longest_wait_seconds, tenant.wait_seconds)


def jain(values: Sequence[float]) -> float:
    """Return Jain's index: 1 when all are equal, 1/n when one has everything."""
    total, squares = sum(values), sum(value * value for value in values)
    return total * total / (len(values) * squares) if squares else 1.0


def _demand(tenant: SimulatedTenant) -> Demand:
    backlog_seconds = tenant.backlog_seconds
    return Demand(
        tenant_id=tenant.tenant_id,
        create_time=_MORNING,
        models=(MODEL,),
        backlog_seconds={MODEL: backlog_seconds} if backlog_seconds > 0 else {},
        weight=tenant.weight,
    )
