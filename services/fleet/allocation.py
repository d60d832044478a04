"""What the fleet knows from one decision to the next: shares, cold starts, who burns, who is idle.

Time is an argument everywhere, so that the very same code decides under a virtual clock
(simulation.py) and on a host.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.fleet.burn_limit import BurnLimit
from services.fleet.cold_starts import ColdStarts
from services.fleet.placement import place
from services.fleet.posts import Demand, Holding, Placement, Post
from services.fleet.shares import Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationRules:
    """What the operator sets."""

    # A tenant with work keeps its device at least this long, beginning with its first picture.
    dwell_seconds_min: float = 60.0
    # … and at least this many times as long as the change of hands takes: 9 means that loading
    # models never eats more than a tenth of the time.
    dwell_per_cold_start: float = 9.0
    # A worker without work is ended after this time.
    idle_seconds: float = 900.0
    devices_per_tenant_max: int = 1
    burnt_seconds_max: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """The worker that is on a device now, perhaps still loading, perhaps on its way out."""

    post: Post
    start_time: float
    # None until its model is loaded.
    ready_time: float | None = None


class Allocation:
    """Decides who gets which device; `now` is monotonic seconds."""

    def __init__(self, rules: AllocationRules, cold_starts: ColdStarts) -> None:
        self.rules = rules
        self.cold_starts = cold_starts
        self.burn_limit = BurnLimit(burnt_seconds_max=rules.burnt_seconds_max)
        self.restrained_tenants: tuple[str, ...] = ()
        self._shares = Shares()
        self._posts: tuple[Post, ...] = ()
        self._busy_times: dict[str, float] = {}
        self._last_time: float | None = None

    def adopt(self, posts: Iterable[Post]) -> None:
        """Go on from what an earlier fleet had decided."""
        self._posts = tuple(posts)

    def decide(
        self,
        *,
        gpu_ids: Sequence[str],
        demands: Sequence[Demand],
        occupants: Mapping[str, Occupant],
        now: float,
        shared_gpu_ids: frozenset[str] = frozenset(),
    ) -> Placement:
        """Book what happened since the last decision and make the next.

        Shared devices are parts of one processor: a second one makes no tenant faster.
        """
        is_shared = not shared_gpu_ids.isdisjoint(gpu_ids)
        self._book(demands, occupants, now)
        weighed = [self._weighed(demand, now) for demand in demands]
        self.restrained_tenants = tuple(
            demand.tenant_id
            for demand in demands
            if self.burn_limit.is_restrained(demand.tenant_id, now=now)
        )
        placement = place(
            gpu_ids=gpu_ids,
            demands=[one for one in weighed if one.tenant_id not in self.restrained_tenants],
            current=[self._holding(post, occupants, now) for post in self._posts],
            devices_per_tenant_max=1 if is_shared else self.rules.devices_per_tenant_max,
            seconds_worth_another=self._dwell_seconds(demands),
        )
        self._note_burnt(placement, now)
        self._posts = placement.posts
        return placement

    def _book(
        self, demands: Sequence[Demand], occupants: Mapping[str, Occupant], now: float
    ) -> None:
        device_counts: dict[str, int] = {}
        for occupant in occupants.values():
            tenant_id = occupant.post.tenant_id
            device_counts[tenant_id] = device_counts.get(tenant_id, 0) + 1
        passed_seconds = 0.0 if self._last_time is None else now - self._last_time
        self._last_time = now
        weights = {demand.tenant_id: demand.weight for demand in demands if demand.has_work}
        self._shares.advance(passed_seconds, device_counts=device_counts, weights=weights)
        tenant_ids = frozenset(demand.tenant_id for demand in demands)
        self._shares.forget_all_but(tenant_ids)
        for demand in demands:
            # A tenant that is new here is treated as one that had work just now.
            if demand.has_work or demand.tenant_id not in self._busy_times:
                self._busy_times[demand.tenant_id] = now
        for tenant_id in self._busy_times.keys() - tenant_ids:
            del self._busy_times[tenant_id]

    def _weighed(self, demand: Demand, now: float) -> Demand:
        idle_seconds = now - self._busy_times[demand.tenant_id]
        return replace(
            demand,
            used_seconds=self._shares.used_seconds(demand.tenant_id),
            keeps_warm=idle_seconds <= self.rules.idle_seconds,
        )

    def _holding(self, post: Post, occupants: Mapping[str, Occupant], now: float) -> Holding:
        cold_start_seconds = self.cold_starts.expected_seconds(post.model)
        occupant = occupants.get(post.gpu_id)
        held_seconds = 0.0
        if occupant is not None and occupant.post.tenant_id == post.tenant_id:
            ready_time = occupant.ready_time
            if ready_time is None:
                # One that should have been ready long ago holds the device all the same.
                ready_time = occupant.start_time + 2 * cold_start_seconds
            held_seconds = max(now - ready_time, 0.0)
        return Holding(
            post=post,
            held_seconds=held_seconds,
            dwell_seconds=self._dwell_of(post.model),
            cold_start_seconds=cold_start_seconds,
        )

    def _dwell_of(self, model: str) -> float:
        cold_start_seconds = self.cold_starts.expected_seconds(model)
        return max(
            self.rules.dwell_seconds_min, self.rules.dwell_per_cold_start * cold_start_seconds
        )

    def _dwell_seconds(self, demands: Sequence[Demand]) -> float:
        models = {model for demand in demands for model in demand.models}
        return max((self._dwell_of(model) for model in models), default=1.0)

    def _note_burnt(self, placement: Placement, now: float) -> None:
        models = {post.gpu_id: post.model for post in placement.posts}
        for takeover in placement.takeovers:
            seconds = self.cold_starts.expected_seconds(models[takeover.gpu_id])
            self.burn_limit.note_burnt(takeover.to_tenant_id, seconds, now=now)
