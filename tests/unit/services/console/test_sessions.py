from zoneinfo import ZoneInfo

from services.console.doors import Doors
from services.console.log_ins import LogInLimit
from services.console.sessions import Role, Sessions, Visitor

VISITOR = Visitor(
    tenant_id="acme",
    display_name="Acme",
    role=Role.MEMBER,
    currency="EUR",
    time_zone=ZoneInfo("UTC"),
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def sessions_of(clock: Clock, doors: Doors, *, sessions_max: int = 10) -> Sessions:
    return Sessions(doors, idle_seconds=60, seconds_max=600, sessions_max=sessions_max, clock=clock)


def some_doors() -> Doors:
    return Doors("127.0.0.1:1", root_certificates=None, overview_seconds=1)


async def test_a_session_ends_when_nobody_used_it_for_its_idle_time() -> None:
    clock, doors = Clock(), some_doors()
    sessions = sessions_of(clock, doors)
    session = await sessions.start("key", VISITOR)

    clock.seconds += 59
    used = await sessions.find(session.session_id)
    clock.seconds += 59
    still_used = await sessions.find(session.session_id)
    clock.seconds += 60
    gone = await sessions.find(session.session_id)

    assert used is session
    assert still_used is session
    assert gone is None
    assert session.ended


async def test_what_a_page_asks_by_itself_keeps_no_session_alive() -> None:
    clock, doors = Clock(), some_doors()
    sessions = sessions_of(clock, doors)
    session = await sessions.start("key", VISITOR)

    clock.seconds += 59
    await sessions.find(session.session_id, by_a_person=False)
    clock.seconds += 1
    gone = await sessions.find(session.session_id)

    assert gone is None


async def test_a_session_ends_at_its_greatest_age_however_much_it_is_used() -> None:
    clock, doors = Clock(), some_doors()
    sessions = sessions_of(clock, doors)
    session = await sessions.start("key", VISITOR)

    for _ in range(11):
        clock.seconds += 50
        assert await sessions.find(session.session_id) is session
    clock.seconds += 50
    gone = await sessions.find(session.session_id)

    assert gone is None


async def test_one_session_too_many_ends_the_one_that_was_idle_longest() -> None:
    clock, doors = Clock(), some_doors()
    sessions = sessions_of(clock, doors, sessions_max=2)
    first = await sessions.start("key", VISITOR)
    clock.seconds += 1
    second = await sessions.start("key", VISITOR)
    clock.seconds += 1
    third = await sessions.start("key", VISITOR)

    assert first.ended
    assert not second.ended
    assert not third.ended
    assert len(sessions) == 2


async def test_a_key_and_a_sessions_number_stand_in_no_text_of_a_session() -> None:
    session = await sessions_of(Clock(), some_doors()).start("atl_live_secret", VISITOR)

    text = repr(session)

    assert "atl_live_secret" not in text
    assert session.session_id not in text
    assert session.csrf_token not in text


def test_an_address_may_try_so_often_a_minute_and_then_evenly_more() -> None:
    clock = Clock()
    limit = LogInLimit(per_minute_max=3, clock=clock)

    first = [limit.take("192.0.2.1") for _ in range(4)]
    other = limit.take("192.0.2.2")
    clock.seconds += 20
    later = [limit.take("192.0.2.1") for _ in range(2)]

    assert first == [True, True, True, False]
    assert other
    assert later == [True, False]
