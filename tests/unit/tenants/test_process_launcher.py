"""What a worker that is a plain process is told."""

from pathlib import Path

from tenants.ids import SessionId
from tenants.launchers.process_launcher import worker_environment
from tenants.launchers.worker_launcher import WorkerOrder


def order(*, device_uuid: str) -> WorkerOrder:
    return WorkerOrder(
        session_id=SessionId("5e55"),
        tenant_id="acme",
        gpu_id="gpu-0",
        device_uuid=device_uuid,
        model_name="mini",
        model_path="/models/mini",
        tenant_directory=Path("/run/tenants/acme"),
        batch_slots=4,
        interactive_slots=1,
        threads=2,
        drain_seconds=84.0,
        log_path=Path("/log"),
        mark={},
    )


def test_a_worker_on_a_card_sees_that_card_alone_and_draws_nowhere_else() -> None:
    environment = worker_environment(order(device_uuid="GPU-5a"))

    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-5a"
    assert environment["ATELIER_WORKER_DEVICE"] == "cuda"


def test_a_worker_on_the_processor_sees_no_card() -> None:
    environment = worker_environment(order(device_uuid=""))

    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["ATELIER_WORKER_DEVICE"] == "cpu"
