"""A model of table A, the ledger and its invoices attacks the real tables in any order.

The mutants at the end prove that it would notice a missing fence.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg import AsyncConnection

from metering.price_document import Tier
from services.jobs import image_moves
from tests.integration.fixture_types import Postgres
from tests.integration.services.jobs.images_machine import ImagesMachine, worker_of
from tests.integration.services.jobs.invoices_machine import InvoicesMachine


def run_machine(postgres: Postgres, *, max_examples: int) -> None:
    InvoicesMachine.postgres = postgres
    run_state_machine_as_test(
        InvoicesMachine,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.timeout(1800)
def test_no_order_of_events_breaks_images_ledger_or_invoices(postgres: Postgres) -> None:
    run_machine(postgres, max_examples=20)


# In parts, so that a run of them can be broken off and spread over processes.
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(1, 11))
def test_no_order_of_fifty_times_thirty_events_breaks_them(postgres: Postgres, part: int) -> None:
    run_machine(postgres, max_examples=50)


@contextmanager
def mutated(name: str, old: bytes, new: bytes) -> Generator[None]:
    """Change one query of ``image_moves`` for a while, as a careless hand might."""
    # A mutant has no public door.
    queries: dict[str, bytes] = getattr(vars(image_moves)["_QUERIES"], "_queries")  # noqa: B009
    original = queries[name]
    assert old in original
    queries[name] = original.replace(old, new)
    try:
        yield
    finally:
        queries[name] = original


def late_result(machine: ImagesMachine) -> None:
    """A worker freezes, its image is drawn by another, then it thaws and delivers."""
    machine.open_shop()
    machine.accept(1, Tier.BATCH)
    old = machine.claim("s1", nothing_in_flight=True)
    machine.lose_session("s1")
    machine.claim("s2", nothing_in_flight=True)
    machine.finish(old, "picture")
    machine.money_adds_up()


def race_for_an_image(machine: ImagesMachine) -> None:
    """The picking takes no lock: what was picked may be taken when the job's lock is there."""
    machine.open_shop()
    machine.accept(1, Tier.BATCH)
    machine.claim("s1", nothing_in_flight=True)
    assert machine.run(_take_again(machine.conn)) is None


async def _take_again(conn: AsyncConnection) -> int | None:
    row = await (
        await conn.execute("SELECT image_id FROM images WHERE state = 'RUNNING'")
    ).fetchone()
    assert row is not None
    job = await image_moves.lock_job_of(conn, row[0])
    assert job is not None
    return await image_moves.take_image(
        conn, job, image_id=row[0], attempt=1, claim_token=uuid4(), worker=worker_of("s2")
    )


MUTANTS = pytest.mark.parametrize(
    ("scene", "name", "old"),
    [
        (
            late_result,
            "leave_running",
            b"AND attempt = %(attempt)s AND claim_token = %(claim_token)s",
        ),
        (race_for_an_image, "take_image", b"AND state = 'QUEUED'"),
    ],
    ids=["without the claim token", "without the state"],
)


@MUTANTS
def test_the_model_agrees_with_the_scenes_of_the_mutants(
    postgres: Postgres, scene: Callable[[ImagesMachine], None], name: str, old: bytes
) -> None:
    play(postgres, scene)


@MUTANTS
def test_the_model_notices_a_missing_fence(
    postgres: Postgres, scene: Callable[[ImagesMachine], None], name: str, old: bytes
) -> None:
    with mutated(name, old, b""), pytest.raises((AssertionError, psycopg.Error)):
        play(postgres, scene)


def play(postgres: Postgres, scene: Callable[[ImagesMachine], None]) -> None:
    ImagesMachine.postgres = postgres
    machine = ImagesMachine()
    try:
        scene(machine)
    finally:
        machine.teardown()
