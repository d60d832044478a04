"""What is told of PostgreSQL between two looks."""

from services.metrics import names
from services.metrics.database_looks import DatabaseLook, only_ask
from services.metrics.metric import Sample

BACKLOG = Sample(names.BACKLOG, 20, ("acme",))


def test_before_the_first_answer_it_is_not_up() -> None:
    look = DatabaseLook(only_ask)

    assert look.samples() == [Sample(names.DATABASE_UP, 0)]


def test_what_was_seen_longer_ago_than_three_looks_is_left_out() -> None:
    now = [100.0]
    look = DatabaseLook(only_ask, monotonic_seconds=lambda: now[0])
    look.remember([BACKLOG])

    fresh = look.samples()
    now[0] += 15.1

    assert fresh == [Sample(names.DATABASE_UP, 1), BACKLOG]
    assert look.samples() == [Sample(names.DATABASE_UP, 0)]
