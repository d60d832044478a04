"""What the fleet knows from one decision to the next."""

from datetime import UTC, datetime

from services.fleet.allocation import Allocation, AllocationRules, Occupant
from services.fleet.cold_starts import ColdStarts
from services.fleet.posts import Demand, Post

MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)
RULES = AllocationRules(
    dwell_seconds_min=60.0, dwell_per_cold_start=9.0, idle_seconds=900.0, burnt_seconds_max=100.0
)


def demand(tenant_id: str, *, work_seconds: float = 0.0) -> Demand:
    return Demand(
        tenant_id=tenant_id,
        create_time=MORNING,
        models=("mini",),
        backlog_seconds={"mini": work_seconds} if work_seconds else {},
    )


class Host:
    """One device whose worker is ready at once, under a clock that the test moves."""

    def __init__(self, *, cold_start_seconds: float = 1.0) -> None:
        self.cold_starts = ColdStarts(seconds_before_measured=cold_start_seconds)
        self.allocation = Allocation(RULES, self.cold_starts)
        self.occupant: Occupant | None = None

    def decide(self, *demands: Demand, now: float) -> str | None:
        """Return who has the device afterwards."""
        placement = self.allocation.decide(
            gpu_ids=["gpu-0"],
            demands=demands,
            occupants={} if self.occupant is None else {"gpu-0": self.occupant},
            now=now,
        )
        posts = [post.tenant_id for post in placement.posts]
        if not posts:
            self.occupant = None
        elif self.occupant is None or self.occupant.post.tenant_id != posts[0]:
            post = Post(gpu_id="gpu-0", tenant_id=posts[0], model="mini")
            self.occupant = Occupant(post=post, start_time=now, ready_time=now)
        return posts[0] if posts else None


def test_a_worker_without_work_is_ended_after_its_time_and_comes_back_with_work() -> None:
    host = Host()
    host.decide(demand("acme", work_seconds=5), now=0.0)

    assert host.decide(demand("acme"), now=900.0) == "acme"
    assert host.decide(demand("acme"), now=901.0) is None
    assert host.decide(demand("acme", work_seconds=5), now=902.0) == "acme"


def test_the_dwell_grows_with_the_cold_starts_that_were_measured() -> None:
    host = Host()
    both = demand("acme", work_seconds=9000), demand("zeta", work_seconds=9000)
    host.cold_starts.note("mini", 30.0)
    host.decide(*both, now=0.0)

    assert host.decide(*both, now=269.0) == "acme"
    assert host.decide(*both, now=271.0) == "zeta"


def test_two_tenants_with_work_have_the_device_for_equal_times() -> None:
    host = Host()
    both = demand("acme", work_seconds=9000), demand("zeta", work_seconds=9000)

    holders = [host.decide(*both, now=float(second)) for second in range(0, 3600, 5)]

    assert abs(holders.count("acme") - holders.count("zeta")) <= 60 / 5


def test_who_burns_too_much_loses_the_device_until_half_is_worked_off() -> None:
    host = Host()
    work = demand("acme", work_seconds=5)
    host.decide(work, now=0.0)
    host.allocation.burn_limit.note_burnt("acme", 150.0, now=0.0)

    assert host.decide(work, now=1.0) is None
    assert host.allocation.restrained_tenants == ("acme",)
    assert host.decide(work, now=1001.0) == "acme"


def test_a_worker_that_never_gets_ready_does_not_hold_its_device_for_ever() -> None:
    host = Host(cold_start_seconds=20.0)
    both = demand("acme", work_seconds=9000), demand("zeta", work_seconds=9000)
    host.decide(*both, now=0.0)
    post = Post(gpu_id="gpu-0", tenant_id="acme", model="mini")
    host.occupant = Occupant(post=post, start_time=0.0, ready_time=None)

    # Twice the cold start it should have taken, then a dwell of nine.
    assert host.decide(*both, now=219.0) == "acme"
    assert host.decide(*both, now=221.0) == "zeta"
