import asyncio
import json
import subprocess
import sys
from collections import deque
from pathlib import Path

import grpc
import pytest

from atelier.campaigns import read_campaign
from atelier.cli.main import run
from atelier.cli.values import read_percent
from atelier.v1.image_pb2 import ImageState
from atelier.v1.job_service_pb2 import CreateJobRequest, WatchJobResponse
from tests.unit.sdk.small_server import (
    JOB,
    PICTURE,
    Refusal,
    SmallJobService,
    finished_image,
    finished_job,
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "campaign.csv"


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "campaign.csv"
    path.write_text("prompt,client_ref\na red mug,MUG/1\n")
    return path


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ATELIER_API_KEY", "key")
    monkeypatch.delenv("ATELIER_ADDRESS", raising=False)


async def atelier(address: str, *arguments: str) -> int:
    return await asyncio.to_thread(run, ["--address", address, *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nothing"],
        ["paint"],
        ["jobs", "create"],
        ["jobs", "create", "--from", "nowhere.csv"],
        ["generate", "a mug", "--size", "big"],
        ["generate", "a mug", "-n", "0"],
        ["generate", "a mug", "--seed", "-1"],
        ["usage", "--by", "weather"],
        ["admin", "credit", "grant", "acme", "ten"],
        ["admin", "credit", "grant", "acme", "-5"],
        ["admin", "prices", "create"],
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_a_missing_key_is_wrong_use_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ATELIER_API_KEY")

    assert run(["jobs", "list"]) == 2
    assert "run `atelier login`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["jobs", "create", "-h"],
        ["admin", "prices", "create", "-h"],
        ["completion", "bash"],
    ],
)
def test_help_ends_with_0(arguments: list[str]) -> None:
    assert run(arguments) == 0


def test_a_bad_campaign_names_lines_and_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("prompt,width\na mug,wide\n,16\n")

    assert run(["jobs", "create", "--from", str(path)]) == 2
    told = capsys.readouterr().err
    assert "line 2, column width: 'wide' is not a whole number" in told
    assert "line 3, column prompt: is empty" in told


async def test_a_campaign_is_ordered_and_told_as_json(
    address: str, service: SmallJobService, campaign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await atelier(
        address, "--format", "json", "jobs", "create", "--from", str(campaign), "--label", "a=b"
    )

    [request] = service.requests
    assert isinstance(request, CreateJobRequest)
    assert code == 0
    assert json.loads(capsys.readouterr().out)["name"] == JOB
    assert request.job.display_name == "campaign"
    assert dict(request.job.labels) == {"a": "b"}


async def test_a_quote_tells_what_the_images_cost_at_most_and_speaks_of_no_job(
    address: str, campaign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await atelier(address, "jobs", "create", "--from", str(campaign), "--quote") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["images", "1"],
        ["at", "most", "0.02", "EUR"],
    ]


async def test_a_format_behind_the_command_counts_too(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await atelier(address, "jobs", "list", "--format", "json") == 0
    assert [job["name"] for job in json.loads(capsys.readouterr().out)] == [JOB]


async def test_waiting_saves_the_pictures_under_safe_names(
    address: str, service: SmallJobService, campaign: Path, tmp_path: Path
) -> None:
    service.images[0].spec.client_ref = "../MUG/1"
    service.watch_parts = deque([[WatchJobResponse(resume_token="1", job=finished_job(1))]])
    folder = tmp_path / "pictures"

    code = await atelier(
        address, "jobs", "create", "--from", str(campaign), "--output-dir", str(folder)
    )

    assert code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "0001-.._MUG_1.png": PICTURE
    }


async def test_a_picture_that_did_not_come_ends_with_1(
    address: str, service: SmallJobService, campaign: Path
) -> None:
    service.images = [finished_image("i1", ImageState.IMAGE_STATE_FAILED)]
    service.watch_parts = deque([[WatchJobResponse(resume_token="1", job=finished_job(1))]])

    assert await atelier(address, "jobs", "create", "--from", str(campaign), "--wait") == 1


async def test_a_refusal_ends_with_3_and_names_its_reason(
    address: str,
    service: SmallJobService,
    campaign: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.refusals.append(Refusal(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BALANCE"))

    assert await atelier(address, "jobs", "create", "--from", str(campaign)) == 3
    assert "INSUFFICIENT_BALANCE" in capsys.readouterr().err


def test_percents_become_millionths() -> None:
    assert read_percent("19") == 190_000
    assert read_percent("0.5") == 5_000


def test_the_example_can_be_ordered() -> None:
    entries = read_campaign(EXAMPLE.read_text(), json_lines=False)

    assert len({entry.spec.image.prompt for entry in entries}) == 16
    assert sum(entry.spec.image.HasField("seed") for entry in entries) == 8


def test_client_and_command_line_load_nothing_of_the_servers() -> None:
    program = (
        "import sys, atelier, atelier.cli.main; atelier.Client; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    servers = {"torch", "diffusers", "numpy", "celery", "psycopg", "pydantic", "protovalidate"}
    ours = {"services", "tenants", "metering", "database"}
    assert not set(loaded) & (servers | ours)
