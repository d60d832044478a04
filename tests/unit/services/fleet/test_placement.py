"""Which tenant works on which device."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.fleet.placement import place
from services.fleet.posts import Demand, Holding, Placement, Post, Takeover

MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)
SMALL, LARGE = "sd35-small", "sd35-large"


def demand(
    tenant_id: str,
    *,
    age: int = 0,
    backlog: Mapping[str, float] | None = None,
    used: float = 0.0,
    weight: float = 1.0,
    keeps_warm: bool = True,
) -> Demand:
    return Demand(
        tenant_id=tenant_id,
        create_time=MORNING - timedelta(hours=age),
        models=(SMALL, LARGE),
        backlog_seconds=backlog or {},
        used_seconds=used,
        weight=weight,
        keeps_warm=keeps_warm,
    )


def busy(tenant_id: str, *, used: float = 0.0, weight: float = 1.0) -> Demand:
    return demand(tenant_id, backlog={SMALL: 900.0}, used=used, weight=weight)


def post(gpu_id: str, tenant_id: str, model: str = SMALL) -> Post:
    return Post(gpu_id=gpu_id, tenant_id=tenant_id, model=model)


def holding(gpu_id: str, tenant_id: str, *, held: float = 0.0, dwell: float = 0.0) -> Holding:
    return Holding(
        post=post(gpu_id, tenant_id),
        held_seconds=held,
        dwell_seconds=dwell,
        cold_start_seconds=20.0,
    )


def holders(placement: Placement) -> dict[str, str]:
    return {one.gpu_id: one.tenant_id for one in placement.posts}


def test_while_devices_are_free_every_tenant_gets_one() -> None:
    placement = place(
        gpu_ids=["cpu-0", "cpu-1"], demands=[demand("acme"), demand("zeta")], current=[]
    )

    assert placement == Placement(posts=(post("cpu-0", "acme"), post("cpu-1", "zeta")))


def test_a_tenant_with_work_takes_the_device_of_one_without() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[demand("acme"), busy("zeta")],
        current=[holding("cpu-0", "acme", dwell=60)],
    )

    assert placement == Placement(
        posts=(post("cpu-0", "zeta"),),
        takeovers=(Takeover(gpu_id="cpu-0", from_tenant_id="acme", to_tenant_id="zeta"),),
    )


def test_a_tenant_with_work_keeps_its_device_for_the_dwell() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[busy("acme", used=500), busy("zeta")],
        current=[holding("cpu-0", "acme", held=59, dwell=60)],
    )

    assert placement == Placement(posts=(post("cpu-0", "acme"),), waiting_tenants=("zeta",))


def test_after_the_dwell_the_tenant_that_had_less_takes_the_device() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[busy("acme", used=60), busy("zeta", used=10), busy("yoyo", used=20)],
        current=[holding("cpu-0", "acme", held=60, dwell=60)],
    )

    assert holders(placement) == {"cpu-0": "zeta"}
    assert placement.waiting_tenants == ("yoyo", "acme")


def test_a_device_is_not_taken_for_one_who_had_more() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[busy("acme", used=60), busy("zeta", used=61)],
        current=[holding("cpu-0", "acme", held=600, dwell=60)],
    )

    assert holders(placement) == {"cpu-0": "acme"}


def test_who_is_done_sooner_than_the_next_could_begin_is_left_to_finish_but_not_for_ever() -> None:
    nearly_done = demand("acme", backlog={SMALL: 15.0}, used=90)
    demands = [nearly_done, busy("zeta")]

    before = place(
        gpu_ids=["cpu-0"],
        demands=demands,
        current=[holding("cpu-0", "acme", held=119, dwell=60)],
    )
    after = place(
        gpu_ids=["cpu-0"],
        demands=demands,
        current=[holding("cpu-0", "acme", held=120, dwell=60)],
    )

    assert holders(before) == {"cpu-0": "acme"}
    assert holders(after) == {"cpu-0": "zeta"}


def test_two_equal_tenants_on_two_devices_never_take_each_others() -> None:
    placement = place(
        gpu_ids=["gpu-0", "gpu-1"],
        demands=[busy("acme", used=9000), busy("zeta", used=10)],
        current=[holding("gpu-0", "acme", held=999), holding("gpu-1", "zeta", held=999)],
        devices_per_tenant_max=8,
    )

    assert holders(placement) == {"gpu-0": "acme", "gpu-1": "zeta"}
    assert placement.takeovers == ()


def test_free_devices_go_to_work_that_is_worth_a_cold_start() -> None:
    placement = place(
        gpu_ids=[f"gpu-{number}" for number in range(5)],
        demands=[demand("acme", backlog={SMALL: 450.0}), busy("zeta")],
        current=[],
        devices_per_tenant_max=8,
        seconds_worth_another=300.0,
    )

    assert sorted(holders(placement).values()) == ["acme", "acme", "zeta", "zeta", "zeta"]


def test_on_one_device_per_tenant_nobody_gets_two() -> None:
    placement = place(gpu_ids=["cpu-0", "cpu-1"], demands=[busy("acme")], current=[])

    assert holders(placement) == {"cpu-0": "acme"}


def test_the_heavier_tenant_may_take_a_third_of_four_devices() -> None:
    current = [
        holding("gpu-0", "acme", held=99),
        holding("gpu-1", "acme", held=99),
        holding("gpu-2", "zeta", held=99),
        holding("gpu-3", "zeta", held=99),
    ]

    placement = place(
        gpu_ids=["gpu-0", "gpu-1", "gpu-2", "gpu-3"],
        demands=[busy("acme", used=33, weight=3), busy("zeta", used=99)],
        current=current,
        devices_per_tenant_max=8,
    )

    assert sorted(holders(placement).values()) == ["acme", "acme", "acme", "zeta"]


def test_a_second_device_is_not_taken_from_one_who_would_then_take_an_idle_tenants() -> None:
    heavy = busy("heavy", weight=2.0)
    current = [
        holding("gpu-0", "heavy"),
        holding("gpu-1", "other"),
        holding("gpu-2", "idle"),
        holding("gpu-3", "light", held=120.0, dwell=60.0),
    ]

    placement = place(
        gpu_ids=["gpu-0", "gpu-1", "gpu-2", "gpu-3"],
        demands=[heavy, busy("other", weight=2.0), demand("idle"), busy("light", used=1.0)],
        current=current,
        devices_per_tenant_max=2,
    )

    assert holders(placement)["gpu-3"] == "light"


def test_a_worker_that_had_no_work_for_long_is_ended() -> None:
    placement = place(
        gpu_ids=["gpu-0"],
        demands=[demand("acme", keeps_warm=False)],
        current=[holding("gpu-0", "acme")],
    )

    assert placement == Placement(posts=())


def test_a_tenant_without_work_takes_nobodys_device_and_does_not_count_as_waiting() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[demand("acme"), demand("zeta")],
        current=[holding("cpu-0", "acme")],
    )

    assert placement == Placement(posts=(post("cpu-0", "acme"),))


def test_the_tenant_with_work_comes_before_the_older_one_without() -> None:
    placement = place(gpu_ids=["cpu-0"], demands=[demand("acme", age=9), busy("zeta")], current=[])

    assert placement.posts == (post("cpu-0", "zeta"),)


def test_a_worker_changes_its_model_only_when_nothing_waits_for_the_loaded_one() -> None:
    both = demand("acme", backlog={SMALL: 1, LARGE: 50})
    other = demand("acme", backlog={LARGE: 50})
    current = [holding("cpu-0", "acme")]

    assert place(gpu_ids=["cpu-0"], demands=[both], current=current).posts == (
        post("cpu-0", "acme", SMALL),
    )
    assert place(gpu_ids=["cpu-0"], demands=[other], current=current).posts == (
        post("cpu-0", "acme", LARGE),
    )


def test_the_device_of_a_tenant_that_is_gone_is_free() -> None:
    placement = place(
        gpu_ids=["cpu-0"], demands=[demand("zeta")], current=[holding("cpu-0", "acme")]
    )

    assert placement.posts == (post("cpu-0", "zeta"),)


tenant_ids = st.sampled_from([f"tenant-{number}" for number in range(6)])
gpu_lists = st.lists(
    st.sampled_from([f"gpu-{number}" for number in range(4)]), unique=True, min_size=1
)
demand_lists = st.lists(
    st.builds(
        demand,
        tenant_ids,
        age=st.integers(0, 5),
        backlog=st.dictionaries(st.sampled_from([SMALL, LARGE]), st.integers(1, 900)),
        used=st.integers(0, 500),
        weight=st.sampled_from([1.0, 2.0, 3.0]),
        keeps_warm=st.booleans(),
    ),
    unique_by=lambda one: one.tenant_id,
)


@st.composite
def decisions(draw: st.DrawFn) -> tuple[list[str], list[Demand], list[Holding], int]:
    """Devices, what is wanted, what is held, and how many devices a tenant may have."""
    gpu_ids = draw(gpu_lists)
    devices_max = draw(st.sampled_from([1, 2, 8]))
    before = place(
        gpu_ids=gpu_ids,
        demands=draw(demand_lists),
        current=[],
        devices_per_tenant_max=devices_max,
        seconds_worth_another=100.0,
    )
    current = [
        Holding(
            post=one,
            held_seconds=draw(st.integers(0, 200)),
            dwell_seconds=60.0,
            cold_start_seconds=20.0,
        )
        for one in before.posts
    ]
    return gpu_ids, draw(demand_lists), current, devices_max


def decide(
    gpu_ids: Sequence[str], demands: Sequence[Demand], current: Sequence[Holding], devices_max: int
) -> Placement:
    return place(
        gpu_ids=gpu_ids,
        demands=demands,
        current=current,
        devices_per_tenant_max=devices_max,
        seconds_worth_another=100.0,
    )


@given(decisions())
def test_a_device_is_nobodys_or_one_tenants_and_no_tenant_has_more_than_it_may(
    decision: tuple[list[str], list[Demand], list[Holding], int],
) -> None:
    gpu_ids, demands, current, devices_max = decision

    placement = decide(gpu_ids, demands, current, devices_max)

    posted = [one.tenant_id for one in placement.posts]
    assert len({one.gpu_id for one in placement.posts}) == len(posted) <= len(gpu_ids)
    assert all(posted.count(tenant) <= devices_max for tenant in posted)


@given(decisions())
def test_nobody_waits_beside_a_device_without_work(
    decision: tuple[list[str], list[Demand], list[Holding], int],
) -> None:
    gpu_ids, demands, current, devices_max = decision

    placement = decide(gpu_ids, demands, current, devices_max)

    work = {one.tenant_id: one.work_seconds for one in demands}
    busy_devices = [one for one in placement.posts if work[one.tenant_id] > 0]
    assert not placement.waiting_tenants or len(busy_devices) == len(gpu_ids)


@given(decisions())
def test_within_the_dwell_a_tenant_with_work_keeps_its_device(
    decision: tuple[list[str], list[Demand], list[Holding], int],
) -> None:
    gpu_ids, demands, current, devices_max = decision

    placement = decide(gpu_ids, demands, current, devices_max)

    work = {one.tenant_id: one.work_seconds for one in demands}
    kept = {
        one.post.gpu_id: one.post.tenant_id
        for one in current
        if one.held_seconds < one.dwell_seconds and work.get(one.post.tenant_id, 0) > 0
    }
    assert kept.items() <= holders(placement).items()


@given(decisions())
def test_a_decision_that_was_carried_out_is_not_changed_by_the_next(
    decision: tuple[list[str], list[Demand], list[Holding], int],
) -> None:
    gpu_ids, demands, current, devices_max = decision
    placement = decide(gpu_ids, demands, current, devices_max)

    fresh = [
        Holding(post=one, dwell_seconds=60.0, cold_start_seconds=20.0) for one in placement.posts
    ]
    again = decide(gpu_ids, demands, fresh, devices_max)

    assert again.posts == placement.posts
    assert again.takeovers == ()
