"""`make demo` with a small campaign and a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.installations import processes_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

MAKE_TINY_MODEL = """
import sys
from pathlib import Path
from services.engine.random_checkpoint import SMALLEST_SHAPE, ensure_random_checkpoint
ensure_random_checkpoint(Path(sys.argv[1]), shape=SMALLEST_SHAPE)
"""
CATALOGUE = """\
[tiny]
display_name = "Tiny"
source = "tiny"
precision = "fp32"
width = { min = 64, max = 64, default = 64 }
height = { min = 64, max = 64, default = 64 }
pixels_max = 4096
num_inference_steps = { min = 1, max = 4, default = 2 }
guidance_scale = { min = 0.0, max = 10.0, default = 4.5 }
max_sequence_length = { min = 16, max = 77, default = 77 }
batch_slots = 2
interactive_slots = 1
"""
CAMPAIGN = """\
prompt,seed
a red mug,11
a blue bottle,12
a green chair,13
"""
KEYS = {
    "tenant",
    "job",
    "image",
    "path",
    "prompt",
    "seed",
    "seconds",
    "energy_millijoules",
    "energy_source",
    "price_nanos",
    "currency",
    "attempt",
}


def demo(directory: Path, campaign: str) -> subprocess.CompletedProcess[str]:
    (directory / "models.toml").write_text(CATALOGUE)
    (directory / "campaign.csv").write_text(campaign)
    subprocess.run([sys.executable, "-c", MAKE_TINY_MODEL, directory / "tiny"], check=True)
    return subprocess.run(
        [
            *(sys.executable, "-m", "services.standalone", "demo"),
            *("--data-directory", directory / "data", "--output", directory / "output"),
            *("--campaign", directory / "campaign.csv"),
        ],
        env={
            **os.environ,
            "ATELIER_STANDALONE_MODEL_CATALOGUE_PATH": str(directory / "models.toml"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_draws_bills_checks_and_leaves_pictures_and_invoices(directory: Path) -> None:
    result = demo(directory, CAMPAIGN)

    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((directory / "output" / "summary.json").read_text())
    assert [(one["tenant"], one["prompt"], one["seed"]) for one in summary] == [
        (tenant, prompt, seed)
        for tenant in ("acme", "zeta")
        for prompt, seed in (("a red mug", 11), ("a blue bottle", 12), ("a green chair", 13))
    ]
    assert all(set(one) == KEYS for one in summary)
    assert all(Path(one["path"]).read_bytes().startswith(b"\x89PNG") for one in summary)
    assert all(one["energy_millijoules"] > 0 and one["price_nanos"] > 0 for one in summary)
    for tenant in ("acme", "zeta"):
        invoice = directory / "output" / tenant / "invoice.pdf"
        assert invoice.read_bytes().startswith(b"%PDF")
    assert "residual 0 mJ" in result.stdout
    assert "invoice.pdf" in result.stdout.splitlines()[-1]
    assert processes_of(directory) == []


def test_a_campaign_that_is_refused_ends_it_with_the_reason(directory: Path) -> None:
    result = demo(directory, "prompt,size\na red mug,64x60\n")

    assert result.returncode == 1
    assert "acme" in result.stderr
    assert processes_of(directory) == []
