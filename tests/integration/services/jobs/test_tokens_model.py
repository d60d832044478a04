"""Whatever happens to tokens and sessions, every image comes to an end, on the real tables.

The machine of the image states gets a broker that loses and doubles tokens, and workers with two
slots that hang on to an attempt until they are told that it is not theirs any more. At the end of
each run a patient housekeeper and patient workers must bring every image to its end. The mutants
prove that top-up and the heartbeat's repeated truth are what makes it so.
"""

from collections import defaultdict
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from metering.price_document import Tier
from services.jobs import recovery
from services.jobs.records import AttemptKey
from tests.integration.fixture_types import Postgres
from tests.integration.services.jobs.images_machine import (
    ACME,
    NOTHING,
    SESSIONS,
    ImagesMachine,
    running_attempt,
)

SLOTS: Final = 2
# Each round ends at least one image or counts one of its three attempts as lost.
ROUNDS_MAX: Final = 60


class TokensMachine(ImagesMachine):
    """Tokens between gateway and workers, as few or many as the broker likes."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0
        self.held: dict[str, set[AttemptKey]] = defaultdict(set)

    def teardown(self) -> None:
        try:
            self.bring_to_end()
        finally:
            super().teardown()

    @rule(target=ImagesMachine.jobs, image_count=st.integers(1, 4), tier=st.sampled_from(Tier))
    def accept(self, image_count: int, tier: Tier) -> Any:
        job_id = super().accept(image_count, tier)
        self.tokens += 0 if job_id is NOTHING else image_count
        return job_id

    @rule(target=ImagesMachine.attempts, session=SESSIONS)
    def spend_token(self, session: str) -> Any:
        if not self.tokens or len(self.held[session]) >= SLOTS:
            return NOTHING
        self.tokens -= 1
        key: Any = super().claim(session, nothing_in_flight=not self.held[session])
        if key is not NOTHING:
            self.held[session].add(key)
        return key

    def claim(self, session: str, nothing_in_flight: bool) -> Any:
        """No rule here: a worker claims for a token."""
        raise NotImplementedError

    @rule(times=st.sampled_from([0, 2]))
    def lose_or_double_tokens(self, times: int) -> None:
        self.tokens *= times

    @rule()
    def top_up(self) -> None:
        self.become("atelier_housekeeper")
        counts = self.run(recovery.claimable_counts(self.conn))
        queued = sum(row.queued_count for row in counts if row.tenant_id == ACME)
        self.tokens = max(self.tokens, queued)

    @rule(session=SESSIONS)
    def hear_truth(self, session: str) -> None:
        held = self.held[session]
        truth = self._beat(session, running=tuple(running_attempt(key) for key in held))
        held.difference_update(truth.invalid_attempts)
        for key in held:
            # The heartbeat told that their first step has begun: from now on they can be lost.
            self.images[key.image_id].begun = True

    @rule(key=ImagesMachine.attempts, outcome=st.sampled_from(["picture", "failed", "back"]))
    def finish(self, key: AttemptKey, outcome: str) -> None:
        super().finish(key, outcome)
        for held in self.held.values():
            held.discard(key)

    def bring_to_end(self) -> None:
        """No more faults: the housekeeper sweeps, the workers draw; nothing may stay open."""
        for _ in range(ROUNDS_MAX):
            if not self._open_images():
                return
            self.top_up()
            for session in ("s1", "s2"):
                self.hear_truth(session)
                for key in list(self.held[session]):
                    # Drawing an image that is not ours any more never ends by itself.
                    if self.images[key.image_id].holder == key:
                        self.finish(key, "picture")
                self.spend_token(session)
        assert not self._open_images(), "images that nobody brings to an end"

    def _open_images(self) -> int:
        self.become("atelier_gateway")
        count = "SELECT count(*) FROM images WHERE state IN ('QUEUED', 'RUNNING')"
        row = self.run(self._first_row(count))
        return int(row[0])

    async def _first_row(self, query: Any) -> Any:
        return await (await self.conn.execute(query)).fetchone()


@pytest.mark.timeout(600)
def test_every_image_comes_to_an_end(postgres: Postgres) -> None:
    TokensMachine.postgres = postgres
    run_state_machine_as_test(
        TokensMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


class WithoutTopUp(TokensMachine):
    def top_up(self) -> None:
        """Nobody replaces what the broker lost."""


class WithoutTruth(TokensMachine):
    def hear_truth(self, session: str) -> None:
        self._beat(session, running=())


def lost_tokens(machine: TokensMachine) -> None:
    """The broker forgets everything."""
    machine.open_shop()
    machine.accept(2, Tier.BATCH)
    machine.lose_or_double_tokens(0)


def both_workers_frozen(machine: TokensMachine) -> None:
    """Both workers are given up for lost with all slots taken, and come back."""
    machine.open_shop()
    machine.accept(4, Tier.BATCH)
    for session in ("s1", "s1", "s2", "s2"):
        machine.spend_token(session)
    machine.lose_session("s1")
    machine.lose_session("s2")


@pytest.mark.parametrize("scene", [lost_tokens, both_workers_frozen])
def test_faults_are_outlived(postgres: Postgres, scene: Any) -> None:
    TokensMachine.postgres = postgres
    machine = TokensMachine()
    scene(machine)

    machine.teardown()


@pytest.mark.parametrize(
    ("mutant", "scene"),
    [(WithoutTopUp, lost_tokens), (WithoutTruth, both_workers_frozen)],
    ids=["without top-up", "without the repeated truth"],
)
def test_a_missing_duty_leaves_images_open(
    postgres: Postgres, mutant: type[TokensMachine], scene: Any
) -> None:
    TokensMachine.postgres = postgres
    machine = mutant()
    scene(machine)

    with pytest.raises(AssertionError, match="nobody brings to an end"):
        machine.teardown()
