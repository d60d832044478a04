import asyncio

from atelier.errors import ErrorStatus, NotFoundError, UnavailableError
from services.console.followed import Followed, View


class Counter(View):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.count = 0


class Source:
    """Follows by counting up when told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def follow(self, view: Counter) -> None:
        self.begun += 1
        while True:
            await self.go.wait()
            self.go.clear()
            view.count += 1
            view.tell()


async def test_many_listeners_cost_one_follower() -> None:
    source = Source()
    followed = Followed(Counter, source.follow)

    with followed.listening("a") as (one, first), followed.listening("a") as (other, second):
        source.go.set()
        await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), 30)

        assert one is other
        assert one.count == 1
        assert source.begun == 1


async def test_what_nobody_listens_to_is_not_followed() -> None:
    followed = Followed(Counter, Source().follow)

    with followed.listening("a"):
        assert len(followed) == 1

    assert len(followed) == 0
    assert followed.view("a") is None


async def test_whoever_comes_later_sees_at_once_what_is_known() -> None:
    source = Source()
    followed = Followed(Counter, source.follow)

    with followed.listening("a") as (_, first):
        source.go.set()
        await asyncio.wait_for(first.wait(), 30)
        with followed.listening("a") as (view, late):
            assert late.is_set()
            assert view.count == 1


async def test_a_gateway_that_does_not_answer_is_told_and_asked_again() -> None:
    asked: list[int] = []

    async def follow(view: Counter) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise UnavailableError(ErrorStatus(code="UNAVAILABLE", reason="", message="down"))
        view.gateway_answers = True
        view.tell()
        await asyncio.Event().wait()

    followed = Followed(Counter, follow, again_seconds=0)
    with followed.listening("a") as (view, changed):
        while not (len(asked) == 2 and view.gateway_answers):
            await asyncio.wait_for(changed.wait(), 30)
            changed.clear()

        assert not view.is_over


async def test_what_is_not_there_is_over() -> None:
    async def follow(view: Counter) -> None:
        raise NotFoundError(ErrorStatus(code="NOT_FOUND", reason="", message="none"))

    followed = Followed(Counter, follow)
    with followed.listening("a") as (view, changed):
        await asyncio.wait_for(changed.wait(), 30)

        assert view.is_over
