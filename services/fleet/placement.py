"""Which tenant works on which device: decided from what is wanted and what runs, nothing else.

In this order: what runs may stay · a tenant with work and no device takes a free one, else one
whose tenant has no work, else one from a tenant that had more than its share · free devices go to
tenants with work for more than one · what is still free keeps a worker warm, so that a first image
does not wait for a model to load. Whoever lost a device gets it back by the same rules: with every
second it waits its share falls behind the others'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from math import ceil, floor

from services.fleet.posts import Demand, Holding, Placement, Post, Takeover


def place(
    *,
    gpu_ids: Sequence[str],
    demands: Sequence[Demand],
    current: Sequence[Holding],
    devices_per_tenant_max: int = 1,
    seconds_worth_another: float = 1.0,
) -> Placement:
    """Return the posts that should be held now; those that may stay as they are do.

    A tenant gets another device for every `seconds_worth_another` of GPU time that wait.
    """
    board = _Board(gpu_ids, demands, current, devices_per_tenant_max, seconds_worth_another)
    for demand in board.claimants():
        board.serve(demand)
    board.spread()
    for demand in board.who_keeps_warm():
        board.give_free(demand)
    return board.placement()


class _Board:
    """The devices while they are being given out."""

    def __init__(
        self,
        gpu_ids: Sequence[str],
        demands: Sequence[Demand],
        current: Sequence[Holding],
        devices_per_tenant_max: int,
        seconds_worth_another: float,
    ) -> None:
        self._gpu_ids = gpu_ids
        self._seconds_worth_another = seconds_worth_another
        self._demands = {demand.tenant_id: demand for demand in demands}
        self._with_work = [demand for demand in demands if demand.has_work]
        self._devices_max = devices_per_tenant_max
        self._takeovers: list[Takeover] = []
        self._holdings = {holding.post.gpu_id: holding for holding in self._kept(current)}
        self._posts = {gpu_id: holding.post for gpu_id, holding in self._holdings.items()}
        self._free = [gpu_id for gpu_id in gpu_ids if gpu_id not in self._posts]
        self._held: dict[str, int] = {}
        for post in self._posts.values():
            self._held[post.tenant_id] = self._held.get(post.tenant_id, 0) + 1
        self._weights = sum(demand.weight for demand in self._with_work)
        self._idle = self._idle_posts()
        self._greedy = self._greedy_posts()

    def claimants(self) -> list[Demand]:
        """Return who has fewer devices than its share, rounded up; who has none comes first."""
        return sorted(
            (
                demand
                for demand in self._who_can_use_another()
                if self._held_by(demand) < ceil(self._share(demand))
            ),
            key=lambda demand: (self._held_by(demand) > 0, *_neediest_first(demand)),
        )

    def serve(self, demand: Demand) -> None:
        """Find a device for a claimant, if there is one to be had."""
        if self.give_free(demand):
            return
        if self._take_from_idle(demand):
            return
        self._take_from_greedy(demand)

    def spread(self) -> None:
        """Give the free devices one by one to who has the fewest and can use another."""
        while self._free and (users := self._who_can_use_another()):
            fewest = min(
                users,
                key=lambda user: (self._held_by(user) / user.weight, *_neediest_first(user)),
            )
            self.give_free(fewest)

    def who_keeps_warm(self) -> list[Demand]:
        """Return who has no work, no device, and had work lately."""
        return sorted(
            (
                demand
                for demand in self._demands.values()
                if not demand.has_work and demand.keeps_warm and not self._held_by(demand)
            ),
            key=_neediest_first,
        )

    def give_free(self, demand: Demand) -> bool:
        """Give a free device, if there is one."""
        if not self._free:
            return False
        self._post(self._free.pop(0), demand)
        return True

    def _take_from_idle(self, demand: Demand) -> bool:
        """Give the device of a tenant without work."""
        if not self._idle or self._held_by(demand):
            return False
        self._take(self._idle.pop(0), demand)
        return True

    def _take_from_greedy(self, demand: Demand) -> bool:
        """Give a device of the tenant that had most, if that is more than this one had."""
        for index, holding in enumerate(self._greedy):
            holder = self._demands[holding.post.tenant_id]
            if holder.used_seconds <= demand.used_seconds:
                return False
            if self._may_lose_one(holder) and not self._would_take_an_idle_one(holder):
                self._take(self._greedy.pop(index), demand)
                return True
        return False

    def _would_take_an_idle_one(self, holder: Demand) -> bool:
        """Left with none it would claim an idle tenant's device next: a change for nothing."""
        return bool(self._idle) and self._held_by(holder) == 1

    def placement(self) -> Placement:
        return Placement(
            posts=tuple(self._posts.values()),
            takeovers=tuple(self._takeovers),
            waiting_tenants=tuple(
                demand.tenant_id
                for demand in sorted(self._with_work, key=_neediest_first)
                if not self._held_by(demand)
            ),
        )

    def _kept(self, current: Sequence[Holding]) -> Iterator[Holding]:
        """Keep what tenants hold that are still there, with the model they need now."""
        for holding in current:
            post = holding.post
            demand = self._demands.get(post.tenant_id)
            if demand is None or post.gpu_id not in self._gpu_ids:
                continue
            if demand.has_work or demand.keeps_warm:
                kept = replace(post, model=_model_to_keep(post.model, demand))
                yield replace(holding, post=kept)

    def _idle_posts(self) -> list[Holding]:
        """Those of tenants without work, the one who had most first."""
        idle = [
            holding
            for holding in self._holdings.values()
            if not self._demands[holding.post.tenant_id].has_work
        ]
        return sorted(idle, key=self._greediest_first)

    def _greedy_posts(self) -> list[Holding]:
        """Those that may be taken from tenants with work, the one who had most first."""
        movable = [
            holding
            for holding in self._holdings.values()
            if _may_be_taken(holding, self._demands[holding.post.tenant_id])
        ]
        return sorted(movable, key=self._greediest_first)

    def _greediest_first(self, holding: Holding) -> tuple[float, str]:
        return (-self._demands[holding.post.tenant_id].used_seconds, holding.post.gpu_id)

    def _who_can_use_another(self) -> list[Demand]:
        return [
            demand for demand in self._with_work if self._held_by(demand) < self._useful(demand)
        ]

    def _share(self, demand: Demand) -> float:
        """Devices it should have if time could be cut as finely as one likes."""
        # Rounded, so that one of three equal tenants on three devices has 1 and not 0.9999.
        return round(len(self._gpu_ids) * demand.weight / self._weights, 6)

    def _useful(self, demand: Demand) -> int:
        useful = ceil(demand.work_seconds / self._seconds_worth_another)
        return min(max(useful, 1), self._devices_max)

    def _may_lose_one(self, holder: Demand) -> bool:
        return self._held_by(holder) > floor(min(self._share(holder), self._useful(holder)))

    def _held_by(self, demand: Demand) -> int:
        return self._held.get(demand.tenant_id, 0)

    def _take(self, holding: Holding, demand: Demand) -> None:
        loser = holding.post.tenant_id
        self._held[loser] -= 1
        self._takeovers.append(
            Takeover(
                gpu_id=holding.post.gpu_id,
                from_tenant_id=loser,
                to_tenant_id=demand.tenant_id,
            )
        )
        self._post(holding.post.gpu_id, demand)

    def _post(self, gpu_id: str, demand: Demand) -> None:
        self._held[demand.tenant_id] = self._held_by(demand) + 1
        self._posts[gpu_id] = Post(
            gpu_id=gpu_id, tenant_id=demand.tenant_id, model=_busiest_model(demand)
        )


def _may_be_taken(holding: Holding, holder: Demand) -> bool:
    """Not before its time, and not from one who is done sooner than the next could begin."""
    if not holder.has_work or holding.held_seconds < holding.dwell_seconds:
        return False
    is_nearly_done = holder.work_seconds <= holding.cold_start_seconds
    return not is_nearly_done or holding.held_seconds >= 2 * holding.dwell_seconds


def _model_to_keep(model: str, demand: Demand) -> str:
    """Change the model only when nothing waits for the one that is loaded."""
    if model not in demand.models:
        return _busiest_model(demand)
    if demand.backlog_seconds.get(model, 0.0) > 0 or not demand.has_work:
        return model
    return _busiest_model(demand)


def _busiest_model(demand: Demand) -> str:
    return max(demand.models, key=lambda model: demand.backlog_seconds.get(model, 0.0))


def _neediest_first(demand: Demand) -> tuple[float, datetime, str]:
    return (demand.used_seconds, demand.create_time, demand.tenant_id)
