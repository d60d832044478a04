"""How workers begin and end in a real installation: drained, adopted, restarted, handed over.

The steps are the same for every launcher; what differs is how one sees that a worker has ended.
"""

import os
import re
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import atelier
from atelier.v1.fleet_service_pb2 import Worker
from atelier.v1.image_pb2 import Image, ImageSpec, ImageState
from atelier.v1.job_service_pb2 import JobSpec
from tests.containers.two_studios import ATTACKER, NEIGHBOUR, READY_SECONDS, TwoStudios
from tests.e2e.installations import eventually
from tests.e2e.studios import address_of

# Long enough to be met while it is drawn, short enough for a test.
LONG_IMAGE = ImageSpec(prompt="a blue vase", width=256, height=256, num_inference_steps=50, seed=11)
IMAGES = 4
DONE_SECONDS = 180


def order(studios: TwoStudios, tenant: str, *, images: int) -> str:
    """Order long images; return the job's name."""
    with studios.client(tenant) as client:
        return client.order_job([JobSpec(image=LONG_IMAGE)] * images).name


def images_of(studios: TwoStudios, tenant: str, job: str) -> list[Image]:
    with studios.client(tenant) as client:
        return list(client.list_images(job))


def is_drawing(studios: TwoStudios, tenant: str, job: str) -> bool:
    return any(
        image.state == ImageState.IMAGE_STATE_RUNNING and image.progress.step > 0
        for image in images_of(studios, tenant, job)
    )


def drawn(studios: TwoStudios, tenant: str, job: str) -> list[Image]:
    """Wait until every image of a job is a picture."""
    with studios.client(tenant) as client:
        client.wait_for_job(job)
    images = images_of(studios, tenant, job)
    assert {image.state for image in images} == {ImageState.IMAGE_STATE_SUCCEEDED}, images
    return images


def drain(studios: TwoStudios, worker: Worker, *, keep_empty: timedelta = timedelta()) -> None:
    address, key = address_of(studios.up), studios.up.operator_key
    with atelier.Client(address, api_key=key) as operator:
        operator.drain_worker(gpu_of(worker), keep_empty=keep_empty)


def gpu_of(worker: Worker) -> str:
    return worker.name.split("/")[1]


def both_ready(studios: TwoStudios) -> dict[str, Worker]:
    """Whatever a test before did: each studio has a worker that is ready."""
    assert eventually(lambda: len(studios.workers()) == 2, seconds=READY_SECONDS), studios.log_of(
        "fleet"
    )[-3000:]
    return studios.workers()


@contextmanager
def told_by_the_fleet(studios: TwoStudios) -> Generator[Callable[[], str]]:
    """What the fleet logs from here on."""
    before = len(studios.log_of("fleet"))
    yield lambda: studios.log_of("fleet")[before:]


def assert_a_drained_worker_loses_nothing(studios: TwoStudios) -> None:
    """It finishes what it draws or hands it back, says so, and is never killed."""
    before = both_ready(studios)[ATTACKER]
    log_name = f"worker-{ATTACKER}-{gpu_of(before)}"
    job = order(studios, ATTACKER, images=IMAGES)
    assert eventually(lambda: is_drawing(studios, ATTACKER, job), seconds=DONE_SECONDS)
    drains = studios.log_of(log_name).count('"event": "drained"')

    with told_by_the_fleet(studios) as told:
        drain(studios, before)
        images = drawn(studios, ATTACKER, job)
        after = both_ready(studios)[ATTACKER]

    assert len(images) == IMAGES
    assert after.process_id != before.process_id
    assert events(told(), gpu_of(before))[:2] == ["worker_draining", "worker_started"]
    assert "worker_killed" not in told()
    assert studios.log_of(log_name).count('"event": "drained"') == drains + 1


def assert_a_fleet_that_was_killed_finds_its_worker_again(studios: TwoStudios) -> None:
    """Its successor adopts what draws; the image that was being drawn is drawn once."""
    before = both_ready(studios)
    job = order(studios, ATTACKER, images=1)
    assert eventually(lambda: is_drawing(studios, ATTACKER, job), seconds=DONE_SECONDS)

    with told_by_the_fleet(studios) as told:
        os.kill(studios.up.process_id("fleet"), signal.SIGKILL)
        assert eventually(lambda: told().count("worker_adopted") == 2, seconds=60), told()
        (image,) = drawn(studios, ATTACKER, job)
        after = both_ready(studios)

    assert image.attempt == 1
    assert {tenant: worker.process_id for tenant, worker in after.items()} == {
        tenant: worker.process_id for tenant, worker in before.items()
    }
    assert "worker_started" not in told()


def assert_a_gpu_changes_hands_after_its_worker_has_ended(studios: TwoStudios) -> str:
    """One GPU left for two studios with work; return its name."""
    workers = both_ready(studios)
    first, second = workers[ATTACKER], workers[NEIGHBOUR]
    with told_by_the_fleet(studios) as told:
        drain(studios, second, keep_empty=timedelta(minutes=30))
        try:
            assert eventually(lambda: NEIGHBOUR not in studios.workers(), seconds=DONE_SECONDS)
            busy = order(studios, ATTACKER, images=IMAGES)
            assert eventually(lambda: is_drawing(studios, ATTACKER, busy), seconds=DONE_SECONDS)
            waiting = order(studios, NEIGHBOUR, images=1)
            drawn(studios, NEIGHBOUR, waiting)
            drawn(studios, ATTACKER, busy)
        finally:
            drain(studios, second)
    assert events(told(), gpu_of(first))[:4] == [
        "device_changes_hands",
        "worker_draining",
        "worker_ended",
        "worker_started",
    ]
    assert "worker_killed" not in told()
    return gpu_of(first)


def events(log: str, gpu: str) -> Sequence[str]:
    """What happened on a GPU, in order."""
    told = ("device_changes_hands", "worker_draining", "worker_ended", "worker_started")
    return [
        found[1]
        for line in log.splitlines()
        if f'"gpu": "{gpu}"' in line
        and (found := re.search(r'"event": "(\w+)"', line))
        and found[1] in told
    ]
