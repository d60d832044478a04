"""The whole service on one card: handover, receipts, invoices, pace and a worker's sudden death.

    python benchmarks/service_on_gpu.py [--output DIRECTORY] [--only PART ...]
    python benchmarks/service_on_gpu.py --rehearse

Starts an installation of its own (`make up`'s processes) on this machine's NVIDIA card, with two
studios and two models: random weights in the layout of Stable Diffusion 3.5 Large, and the
checkpoint that ships. Every part writes its result before the next begins:

    handover  both studios order 8 images of Large at once: one card, so the fleet hands it over
    cards     with several cards: 24 images of each studio at once, and on whose card they were
    steady    one studio's 24 images of Large, unpaced, for the rate; where its seconds went
    many      100 images of the checkpoint that ships, ordered and fetched by the command line
    pace      two minutes at a duty cycle of at most 0.9, with what the sensors say each second
    heat      two minutes under a temperature limit near what full speed comes to
    kill      SIGKILL for the worker in the middle of an image
    bill      receipts against draft invoices, joules against the card's own counter
    alone     those 24 once more by the engine alone, when the service has ended

--rehearse runs the same on the processor with a tiny model; its figures say nothing of a card.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from machine import describe_machine, write_result
from service_on_cpu import beside

from benchmarks.service import parts as service_parts
from benchmarks.service.alone import alone
from benchmarks.service.bench import Bench
from benchmarks.service.plan import ON_CARD, REHEARSAL, Plan, make_large, make_settings
from metering import nvml
from services.standalone.installation import running_installation
from services.standalone.terminal import Terminal

ROOT: Final = Path(__file__).resolve().parents[1]
PARTS: Final = ("handover", "cards", "steady", "many", "pace", "heat", "kill", "bill", "alone")


class Report:
    """Results so far; each part is on disk before the next begins."""

    def __init__(self, path: Path, *, card: str, parts: Sequence[str]) -> None:
        self._path = path
        self.result: dict[str, Any] = {
            "question": "How does the whole service do on one card?",
            "command": f"python benchmarks/service_on_gpu.py --only {' '.join(parts)}",
            "card": card,
            "torch": torch.__version__,
            "machine": describe_machine(),
        }

    def add(self, part: str, found: object) -> None:
        self.result[part] = found
        print(json.dumps({part: found}, indent=1), flush=True)
        write_result(self.result, self._path)


def main() -> None:
    """Measure part by part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="on the processor, tiny")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    plan = REHEARSAL if arguments.rehearse else ON_CARD
    counters = [] if arguments.rehearse else nvml.open_counters()
    if plan.use_gpus and not counters:
        parser.error("there is no NVIDIA driver here; --rehearse runs on the processor")
    prefix = "rehearsed_" if arguments.rehearse else ""
    card = counters[0].facts.display_name if counters else "none: a rehearsal on the processor"
    report = Report(
        arguments.output / f"{prefix}service_on_gpu.json", card=card, parts=arguments.only
    )
    with tempfile.TemporaryDirectory(prefix="atelier-card-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL may run as another user.
        Path(folder).chmod(0o755)
        run(plan, Path(folder), report, parts=arguments.only)


def run(plan: Plan, folder: Path, report: Report, *, parts: tuple[str, ...]) -> None:
    """Make the models, then the service's parts, then the engine alone."""
    report.add("making_the_model_seconds", make_large(plan, folder / "large"))
    settings = make_settings(plan, folder)
    with running_installation(settings, Terminal(quiet=True)) as running:
        beside(running, lambda: _in_service(Bench(running), plan, folder, report, parts))
    if "alone" in parts:
        report.add("alone", alone(plan, folder / "large", report.result.get("steady")))


def _in_service(
    bench: Bench, plan: Plan, folder: Path, report: Report, parts: tuple[str, ...]
) -> list[Any]:
    steps: dict[str, Callable[[], object]] = {
        "handover": lambda: service_parts.handover(bench, plan),
        "cards": lambda: service_parts.cards(bench, plan),
        "steady": lambda: service_parts.steady(bench, plan),
        "many": lambda: service_parts.many(bench, plan, folder),
        "pace": lambda: service_parts.pace(bench, plan),
        "heat": lambda: service_parts.heat(bench, plan),
        "kill": lambda: service_parts.kill(bench, plan),
        "bill": lambda: service_parts.bill(bench),
    }
    for part, step in steps.items():
        if part in parts:
            report.add(part, step())
    return []


if __name__ == "__main__":
    main()
