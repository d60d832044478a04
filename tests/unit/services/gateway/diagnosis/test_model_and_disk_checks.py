from pathlib import Path

import pytest

from services.engine.weight_hashes import write_hashes
from services.gateway.diagnosis.finding import State
from services.gateway.diagnosis.model_checks import look_at_model
from services.gateway.diagnosis.storage_checks import disk_finding, look_at_disks

GIB = 1024**3


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "small"
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "transformer" / "weights.safetensors").write_bytes(b"weights")
    write_hashes(folder)
    return folder


def look(tmp_path: Path, source: str = "models/small") -> tuple[State, str]:
    finding = look_at_model("model small", source, tmp_path)
    return finding.state, finding.message


def test_a_model_that_is_what_its_hashes_say(model: Path, tmp_path: Path) -> None:
    assert look(tmp_path) == (State.OK, "its weights are what their hashes say")


def test_a_flipped_bit_is_found(model: Path, tmp_path: Path) -> None:
    (model / "transformer" / "weights.safetensors").write_bytes(b"weighty")

    state, message = look(tmp_path)

    assert state is State.FAILED
    assert "weights.safetensors is not what SHA256SUMS says" in message


def test_a_lost_file_is_found(model: Path, tmp_path: Path) -> None:
    (model / "transformer" / "weights.safetensors").unlink()

    state, message = look(tmp_path)

    assert state is State.FAILED
    assert message.endswith("weights.safetensors is missing: copy the model again")


def test_a_model_without_hashes_is_a_warning(model: Path, tmp_path: Path) -> None:
    (model / "SHA256SUMS").unlink()

    assert look(tmp_path)[0] is State.WARNING


def test_a_folder_that_is_no_model(model: Path, tmp_path: Path) -> None:
    (model / "model_index.json").unlink()

    assert look(tmp_path)[0] is State.FAILED


def test_random_weights_are_a_warning_and_a_hubs_name_is_not_known_here(tmp_path: Path) -> None:
    assert look(tmp_path, "random-checkpoint")[0] is State.WARNING
    assert look(tmp_path, "somebody/some-model")[0] is State.UNKNOWN


@pytest.mark.parametrize(
    ("free", "state"),
    [(100 * GIB, State.OK), (9 * GIB, State.WARNING), (GIB // 2, State.FAILED)],
)
def test_a_disk_that_runs_full(free: int, state: State) -> None:
    finding = disk_finding("spool's disk", free_bytes=free, total_bytes=200 * GIB)

    assert finding.state is state
    assert finding.message == f"{free / GIB:.1f} of 200.0 GiB are free"


def test_folders_that_are_not_mounted(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    findings = list(look_at_disks(nowhere, nowhere.as_uri()))

    assert [(finding.check, finding.state) for finding in findings] == [
        ("pictures' disk", State.FAILED),
        ("run directory", State.FAILED),
    ]
