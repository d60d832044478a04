"""Which tenant works on which device."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.fleet.placement import Demand, Placement, Post, place

MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)
SMALL, LARGE = "sd35-small", "sd35-large"


def demand(tenant_id: str, *, age: int = 0, backlog: Mapping[str, int] | None = None) -> Demand:
    return Demand(
        tenant_id=tenant_id,
        create_time=MORNING - timedelta(hours=age),
        models=(SMALL, LARGE),
        backlog=backlog or {},
    )


def post(gpu_id: str, tenant_id: str, model: str = SMALL) -> Post:
    return Post(gpu_id=gpu_id, tenant_id=tenant_id, model=model)


def test_while_devices_are_free_every_tenant_gets_one() -> None:
    placement = place(
        gpu_ids=["cpu-0", "cpu-1"], demands=[demand("acme"), demand("zeta")], current=[]
    )

    assert placement == Placement(
        posts=(post("cpu-0", "acme"), post("cpu-1", "zeta")), waiting_tenants=()
    )


def test_a_tenant_with_work_takes_the_device_of_one_without() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[demand("acme"), demand("zeta", backlog={SMALL: 3})],
        current=[post("cpu-0", "acme")],
    )

    assert placement == Placement(posts=(post("cpu-0", "zeta"),), waiting_tenants=())


def test_a_tenant_with_work_keeps_its_device_and_the_other_waits() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[demand("acme", backlog={SMALL: 1}), demand("zeta", backlog={SMALL: 900})],
        current=[post("cpu-0", "acme")],
    )

    assert placement == Placement(posts=(post("cpu-0", "acme"),), waiting_tenants=("zeta",))


def test_a_tenant_without_work_takes_nobodys_device_and_does_not_count_as_waiting() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[demand("acme"), demand("zeta")],
        current=[post("cpu-0", "acme")],
    )

    assert placement == Placement(posts=(post("cpu-0", "acme"),), waiting_tenants=())


def test_the_tenant_with_work_comes_before_the_older_one_without() -> None:
    placement = place(
        gpu_ids=["cpu-0"],
        demands=[demand("acme", age=9), demand("zeta", backlog={SMALL: 1})],
        current=[],
    )

    assert placement.posts == (post("cpu-0", "zeta"),)


def test_a_worker_changes_its_model_only_when_nothing_waits_for_the_loaded_one() -> None:
    both = demand("acme", backlog={SMALL: 1, LARGE: 50})
    other = demand("acme", backlog={LARGE: 50})
    current = [post("cpu-0", "acme", SMALL)]

    assert place(gpu_ids=["cpu-0"], demands=[both], current=current).posts == tuple(current)
    assert place(gpu_ids=["cpu-0"], demands=[other], current=current).posts == (
        post("cpu-0", "acme", LARGE),
    )


def test_the_device_of_a_tenant_that_is_gone_is_free() -> None:
    placement = place(gpu_ids=["cpu-0"], demands=[demand("zeta")], current=[post("cpu-0", "acme")])

    assert placement.posts == (post("cpu-0", "zeta"),)


tenant_ids = st.sampled_from([f"tenant-{number}" for number in range(6)])
gpu_lists = st.lists(
    st.sampled_from([f"cpu-{number}" for number in range(4)]), unique=True, min_size=1
)
demand_lists = st.lists(
    st.builds(
        demand,
        tenant_ids,
        age=st.integers(0, 5),
        backlog=st.dictionaries(st.sampled_from([SMALL, LARGE]), st.integers(1, 9)),
    ),
    unique_by=lambda one: one.tenant_id,
)


@given(gpu_ids=gpu_lists, before=demand_lists, after=demand_lists)
def test_placement_is_sound_and_settles_at_once(
    gpu_ids: list[str], before: list[Demand], after: list[Demand]
) -> None:
    current = place(gpu_ids=gpu_ids, demands=before, current=[]).posts

    placement = place(gpu_ids=gpu_ids, demands=after, current=current)

    again = place(gpu_ids=gpu_ids, demands=after, current=placement.posts)
    work = {one.tenant_id: one.image_count for one in after}
    posted = [one.tenant_id for one in placement.posts]
    held_before = {one.tenant_id for one in current}
    assert again == placement
    assert len({one.gpu_id for one in placement.posts}) == len(posted) <= len(gpu_ids)
    assert len(set(posted)) == len(posted)
    assert all(work[tenant] > 0 for tenant in posted) or not placement.waiting_tenants
    assert {tenant for tenant in held_before if work.get(tenant, 0) > 0} <= set(posted)
