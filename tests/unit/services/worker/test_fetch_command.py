"""`atelier-worker fetch` without a network: refusals, and what a finished model is."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.engine.weight_hashes import check_hashes
from services.worker.errors import FetchError
from services.worker.fetch_command import fetch_lines, seal

MINI = Path(__file__).parents[4] / "deploy" / "models" / "atelier-mini"
LARGE = "stabilityai/stable-diffusion-3.5-large"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_the_terms_are_told_and_must_be_accepted(tmp_path: Path) -> None:
    lines = fetch_lines([LARGE, "--output", str(tmp_path / "large")])

    assert next(lines).startswith("Stability AI Community License: free for research")
    with pytest.raises(FetchError, match="read the terms, then add --accept-licence"):
        next(lines)
    assert list(tmp_path.iterdir()) == []


def test_offline_it_refuses_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(FetchError, match="HF_HUB_OFFLINE forbids the network"):
        list(fetch_lines([LARGE, "--output", str(tmp_path / "large"), "--accept-licence"]))

    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_cannot_be_reached_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library itself was told at its import to stay offline, so it reaches nobody.
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    with pytest.raises(FetchError, match="the hub cannot be reached: "):
        list(fetch_lines([LARGE, "--output", str(tmp_path / "large"), "--accept-licence"]))

    assert not (tmp_path / "large").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is there already"):
        list(fetch_lines([LARGE, "--output", str(tmp_path)]))


def test_a_fetched_model_holds_its_hashes_and_its_terms(tmp_path: Path) -> None:
    folder = tmp_path / "mini"
    shutil.copytree(MINI, folder)
    (folder / "SHA256SUMS").unlink()
    (folder / "LICENSE.md").write_text("the licence")

    seal(folder, model=LARGE, revision="abc", accept_time=NOON)

    check_hashes(folder)
    assert (folder / "SHA256SUMS").read_text() == (MINI / "SHA256SUMS").read_text()
    terms = (folder / "LICENCE-TERMS.md").read_text()
    assert f"{LARGE}, revision abc, on 2026-11-25" in terms
    assert "The licence itself: LICENSE.md." in terms


@pytest.mark.parametrize("missing", ["model_index.json", "*/*.safetensors"])
def test_a_download_that_is_no_model_is_not_finished(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "mini"
    shutil.copytree(MINI, folder)
    for path in folder.glob(missing):
        path.unlink()

    with pytest.raises(FetchError):
        seal(folder, model=LARGE, revision="abc", accept_time=NOON)
