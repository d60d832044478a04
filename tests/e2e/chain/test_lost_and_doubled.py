"""Whatever dies or comes twice: the job finishes, and each of its images is billed exactly once."""

import asyncio
import signal

import pytest

from services.jobs.image_states import ImageState, JobState
from services.liveness.alive import objection
from tests.e2e.chain.chain import Chain
from tests.integration.installation import eventually, spec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

# Long enough to do something to it while it is drawn: some seconds on a shared core.
SLOW = spec(size=128, steps=300)
VERY_SLOW = spec(size=256, steps=900)


async def test_a_job_is_drawn_charged_and_its_joules_are_known(chain: Chain) -> None:
    await chain.worker()

    job = await chain.submit(*(spec(seed=seed) for seed in range(5)))

    await chain.assert_each_image_is_billed_once(job, image_count=5)
    usage = await chain.studio.rows(
        "SELECT energy_source, energy_millijoules > 0 AS has_energy FROM usage_records"
        " WHERE job_id = %s",
        job.job_id,
    )
    assert [(row["energy_source"], row["has_energy"]) for row in usage] == [("ESTIMATED", True)] * 5


async def test_tokens_delivered_several_times_draw_no_image_twice(chain: Chain) -> None:
    await chain.worker()

    job = await chain.submit(*(spec(seed=seed) for seed in range(4)), tokens=12)

    await chain.assert_each_image_is_billed_once(job, image_count=4)
    assert await chain.attempts(job) == [(number, 1, "SUCCEEDED") for number in (1, 2, 3, 4)]


async def test_without_any_token_the_housekeeper_sees_to_it(chain: Chain) -> None:
    await chain.worker()

    job = await chain.submit(spec(), spec(), tokens=0)

    await chain.assert_each_image_is_billed_once(job, image_count=2)


async def test_a_worker_killed_in_the_middle_loses_no_image(chain: Chain) -> None:
    worker = await chain.worker()
    job = await chain.submit(SLOW, spec(), spec(), SLOW)
    await chain.until_drawing(job)

    worker.kill()
    await chain.worker()

    await chain.assert_each_image_is_billed_once(job, image_count=4)
    outcomes = [outcome for _, _, outcome in await chain.attempts(job)]
    assert outcomes.count("SUCCEEDED") == 4
    assert "LOST" in outcomes


async def test_an_image_that_costs_three_workers_fails_uncharged_and_spares_its_neighbours(
    chain: Chain,
) -> None:
    await chain.worker()
    poison = await chain.submit(VERY_SLOW)
    for attempt in (1, 2, 3):
        await chain.until_drawing(poison, attempt=attempt)
        neighbour = await chain.submit(spec(seed=attempt))
        chain.workers["cpu-0"].kill()
        await chain.worker()

    ended = await chain.studio.until_ended(poison)

    assert ended.state is JobState.FAILED
    assert await chain.attempts(poison) == [(1, attempt, "LOST") for attempt in (1, 2, 3)]
    await chain.assert_each_image_is_billed_once(neighbour, image_count=1)


async def test_a_worker_frozen_past_its_lease_comes_too_late(chain: Chain) -> None:
    frozen = await chain.worker("cpu-0")
    job = await chain.submit(SLOW)
    image_id = await chain.until_drawing(job)
    # Busy with a long picture it is alive; stopped it says nothing any more.
    assert await chain.probe() == 0
    frozen.send(signal.SIGSTOP)
    await chain.worker("cpu-1")
    last_pulse = chain.pulse_path("cpu-0").read_text()

    await chain.studio.until_state(image_id, ImageState.SUCCEEDED)
    assert chain.pulse_path("cpu-0").read_text() == last_pulse
    alive_until_nanos = int(last_pulse.split()[0])
    assert objection(last_pulse, now_nanos=alive_until_nanos + 1, must_be_ready=False) is not None
    frozen.send(signal.SIGCONT)

    await chain.assert_each_image_is_billed_once(job, image_count=1)
    assert await chain.attempts(job) == [(1, 1, "LOST"), (1, 2, "SUCCEEDED")]
    # It hears that its attempt is not valid any more, stops, and serves again.
    await asyncio.to_thread(chain.workers["cpu-1"].stop)
    again = await chain.submit(spec())
    await chain.assert_each_image_is_billed_once(again, image_count=1)
    assert chain.pulse_path("cpu-0").read_text() != last_pulse
    assert await chain.probe() == 0
    # It forgot the lost attempt: its end waits for nothing.
    assert await asyncio.to_thread(frozen.stop) == 0


async def test_a_recorder_killed_in_the_middle_loses_no_picture(chain: Chain) -> None:
    await chain.worker()
    job = await chain.submit(SLOW, spec(), spec())
    await chain.until_drawing(job)

    chain.services["recorder"].kill()
    chain.services["recorder"].start()

    await chain.assert_each_image_is_billed_once(job, image_count=3)


async def test_a_broker_killed_and_emptied_only_costs_time(chain: Chain) -> None:
    await chain.worker()
    job = await chain.submit(SLOW, *(spec(seed=seed) for seed in range(6)))
    await chain.until_drawing(job)

    chain.kill_broker()
    for path in (chain.run.path / "broker" / "appendonlydir").iterdir():
        path.unlink()
    chain.start_broker()

    await chain.assert_each_image_is_billed_once(job, image_count=7)


async def test_a_cancelled_job_stops_while_it_is_drawn_and_costs_nothing(chain: Chain) -> None:
    await chain.worker()
    job = await chain.submit(VERY_SLOW)
    await chain.until_drawing(job)

    await chain.studio.cancel(job)

    ended = await chain.studio.until_ended(job)
    assert ended.state is JobState.CANCELLED
    assert await chain.attempts(job) == [(1, 1, "CANCELLED")]
    assert await chain.studio.violations() == {}


async def test_a_worker_that_is_asked_to_end_finishes_what_it_draws(chain: Chain) -> None:
    worker = await chain.worker()
    job = await chain.submit(SLOW, spec(), spec(), spec())
    await chain.until_drawing(job)

    code = await asyncio.to_thread(worker.stop)

    assert code == 0
    assert "LOST" not in [outcome for _, _, outcome in await chain.attempts(job)]
    await chain.worker()
    await chain.assert_each_image_is_billed_once(job, image_count=4)


async def test_what_a_worker_cannot_finish_in_time_is_handed_back(chain: Chain) -> None:
    worker = await chain.worker("cpu-1", drain_seconds=0.5, batch_slots=4)
    for other in [process for gpu, process in chain.workers.items() if gpu != "cpu-1"]:
        if other.is_running:
            await asyncio.to_thread(other.stop)
    job = await chain.submit(*[VERY_SLOW] * 4)
    await chain.until_drawing(job)

    async def all_claimed() -> bool | None:
        return (await chain.studio.job(job)).running_count == 4 or None

    await eventually(all_claimed)

    code = await asyncio.to_thread(worker.stop)

    assert code == 0
    assert await chain.attempts(job) == [(number, 1, "HANDED_BACK") for number in (1, 2, 3, 4)]

    async def handed_back() -> bool | None:
        return (await chain.studio.job(job)).queued_count == 4 or None

    await eventually(handed_back)
    await chain.studio.cancel(job)
