"""How well does the meter measure a real card, and what does the card draw?

    python benchmarks/energy_on_gpu.py [--model FOLDER] [--output DIRECTORY]
    python benchmarks/energy_on_gpu.py --rehearse

On one GPU that nobody else uses, with the meter and the engine in this process: how often the
counter moves as the meter sees it, what the card draws without a process, with a waiting one and
while it loads, whether the meter's partition adds up to the counter's own difference, how energy
goes with steps × tokens over 63 images of mixed sizes and steps (alone and in batches), and what
the meter itself costs. Writes energy_on_gpu.json and calibration.json, which the meter loads
(ATELIER_METER_CALIBRATION_PATH). Without --model it draws with random weights in the layout of a
Stable Diffusion 3.5 of 16 layers × 24 heads: power does not care what the picture shows.

--rehearse runs the same against a simulated card, with the checkpoint that ships on the processor.
Needs metering, services.engine and services.meter alone: no database, no server. Where the project
is not installed: PYTHONPATH=. python benchmarks/energy_on_gpu.py.
"""

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final

import torch

from benchmarks.parts.card_figures import (
    DrawnImage,
    Moments,
    energy_of_images,
    mixed_against_alone,
    partition_of,
    refresh_of,
    watts_of,
    work_of,
)
from benchmarks.parts.local_meter import LocalMeter
from benchmarks.parts.meters_toll import SwitchedSink, meters_toll
from metering import nvml
from metering.calibration import Calibration, write_calibration
from metering.cpu_energy import AttachedProcesses
from metering.energy_counter import EnergyCounter
from metering.power import PowerModel
from services.engine.devices import choose_device
from services.engine.drawing_model import DiffusionModel
from services.engine.engine import Engine
from services.engine.image_spec import AttemptKey, ImageSpec
from services.engine.loading import load_model
from services.engine.marks import MarkSink
from services.engine.random_checkpoint import make_random_checkpoint
from services.engine.small_model import SmallModelShape
from services.meter.devices import Device
from tenants.ids import GpuId

ROOT: Final = Path(__file__).resolve().parents[1]
SHIPPED_MODEL: Final = ROOT / "deploy" / "models" / "atelier-mini"
# Two thirds of Stable Diffusion 3.5 Medium's transformer: 1024² and 28 steps take about a second.
CARD_SHAPE: Final = SmallModelShape(
    layers=16,
    heads=24,
    t5_width=1536,
    vae_channels=(64, 128, 256, 256),
    default_size=1024,
    size_max=1024,
)
CARD_SIZES: Final = (512, 768, 1024)
CARD_STEPS: Final = (8, 16, 28)
REHEARSAL_SIZES: Final = (96, 128, 160)
REHEARSAL_STEPS: Final = (2, 3, 4)
IMAGES_PER_KIND: Final = 7
QUIET_SECONDS: Final = 12.0
# Clocks and heat settle for so long after work.
SETTLING_SECONDS: Final = 4.0
BATCH_SLOTS: Final = 4
SECONDS_MAX: Final = 150.0
# Until the card has told better; as of an H200.
FIRST_POWER: Final = PowerModel(
    idle_watts=124.0, free_watts=85.0, load_watts=150.0, joules_per_work_unit=0.00165
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is measured, and with what."""

    driver: nvml.Driver
    counter: EnergyCounter
    model: str
    device: str
    dtype: str
    sizes: Sequence[int]
    steps: Sequence[int]
    # Tells a simulated card that a process has come, and what it does.
    take_process: Callable[[], None] = lambda: None
    watched: Callable[[MarkSink], MarkSink] = lambda sink: sink
    # Millijoules between two moments, where they are known.
    truth: Callable[[int, int], float] | None = None


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="a folder in diffusers format; random weights unless given")
    parser.add_argument("--gpu", type=int, default=0, help="its number, as the driver counts")
    parser.add_argument("--rehearse", action="store_true", help="against a simulated card")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--quiet-seconds", type=float, default=QUIET_SECONDS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        setting = rehearsal() if arguments.rehearse else on_card(arguments, Path(directory))
        if setting is None:
            print("There is no NVIDIA driver here; --rehearse runs against a simulated card.")
            return
        results, calibration = measure(setting, quiet_seconds=arguments.quiet_seconds)
    print(json.dumps(results, indent=2))
    arguments.output.mkdir(parents=True, exist_ok=True)
    prefix = "rehearsed_" if arguments.rehearse else ""
    target = arguments.output / f"{prefix}energy_on_gpu.json"
    target.write_text(json.dumps(results, indent=2) + "\n")
    write_calibration(calibration, arguments.output / f"{prefix}calibration.json")


def on_card(arguments: argparse.Namespace, directory: Path) -> Setting | None:
    """A real card; the model is made before anything of it is touched."""
    counters = nvml.open_counters()
    if not counters:
        return None
    number: int = arguments.gpu
    model: str | None = arguments.model
    if model is None:
        model = str(directory)
        make_random_checkpoint(directory, shape=CARD_SHAPE)
    return Setting(
        driver=nvml.REAL_DRIVER,
        counter=counters[number],
        model=model,
        device=f"cuda:{number}",
        dtype="bfloat16",
        sizes=CARD_SIZES,
        steps=CARD_STEPS,
    )


def rehearsal() -> Setting:
    """The checkpoint that ships draws on the processor, a simulated card is metered."""
    from tests.gpu_simulation.live_card import LiveCard  # noqa: PLC0415 - not there on a bare card

    card = LiveCard()
    (counter,) = nvml.open_counters(card.driver)
    device = choose_device("cpu")
    return Setting(
        driver=card.driver,
        counter=counter,
        model=str(SHIPPED_MODEL),
        device=device.device,
        dtype=device.dtype,
        sizes=REHEARSAL_SIZES,
        steps=REHEARSAL_STEPS,
        take_process=card.take_process,
        watched=card.watched,
        truth=card.millijoules_between,
    )


def measure(setting: Setting, *, quiet_seconds: float) -> tuple[dict[str, Any], Calibration]:
    """Run all of it once."""
    start = time.monotonic()
    refresh = refresh_of(setting.counter)
    meter = LocalMeter(_device(setting, refresh_nanos=int(refresh["period_ms"] * 1e6)))
    first_millijoules = setting.counter.read(monotonic_ns())
    meter.start()
    free = _quiet(quiet_seconds)
    setting.take_process()
    meter.arrive()
    switch = SwitchedSink(setting.watched(meter))
    engine = start_engine(setting, switch)
    time.sleep(SETTLING_SECONDS)
    idle = _quiet(quiet_seconds)
    images = draw_images(engine, setting, until=start + SECONDS_MAX)
    switch.sink = None
    time.sleep(1.0)
    metered_seconds = time.monotonic() - free[0]
    cpu_seconds = meter.stop()
    last_millijoules = setting.counter.read(monotonic_ns())
    device = _device(setting, refresh_nanos=int(refresh["period_ms"] * 1e6))
    toll = meters_toll(
        lambda: draw_round(engine, setting), switch, make_meter=lambda: LocalMeter(device)
    )
    engine.close()
    watts = watts_of(meter, Moments(free=free, idle=idle))
    work = work_of(meter, images, idle_watts=watts["idle"])
    results = {
        "question": "How well does the meter measure this card, and what does it draw?",
        "machine": machine(setting),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/energy_on_gpu.py",
        "seconds": round(time.monotonic() - start, 1),
        "refresh": refresh,
        "watts": {name: round(value, 1) for name, value in watts.items()},
        "partition": partition_of(meter, first_millijoules, last_millijoules),
        "energy_against_work": work,
        "mixed_against_alone": mixed_against_alone(meter, images),
        "meter": {
            **toll,
            "cpu_seconds_per_hour": round(cpu_seconds / metered_seconds * 3600, 1),
            "cpu_percent_of_one_core": round(100 * cpu_seconds / metered_seconds, 2),
            "readings_per_second": round(len(meter.readings) / metered_seconds, 1),
            "moment_of_a_reading_known_to_ms": round(
                statistics.median(reading.timing_nanos for reading in meter.readings) / 1e6, 2
            ),
        },
    }
    if setting.truth is not None:
        results["against_the_simulated_truth"] = errors_of(meter, images, setting.truth)
    return results, calibration_of(setting, refresh, watts, work)


def errors_of(
    meter: LocalMeter, images: Sequence[DrawnImage], truth: Callable[[int, int], float]
) -> dict[str, float]:
    """How far images' energy is off, where the truth is known."""
    took: dict[str, float] = {}
    for mark in meter.marks:
        millijoules = truth(mark.start_nanos, mark.end_nanos)
        units = sum(amount for _, amount in mark.work)
        for key, amount in mark.work:
            part = millijoules / 1000 * amount / units
            took[key.image_id] = took.get(key.image_id, 0.0) + part
    told = energy_of_images(meter)
    ids = [image.key.image_id for image in images]
    errors = [abs(told[name][0] - took[name]) / took[name] for name in ids]
    covered = [abs(told[name][0] - took[name]) <= 1.96 * told[name][1] for name in ids]
    return {
        "error_mean_percent": round(100 * statistics.mean(errors), 2),
        "error_p95_percent": round(100 * statistics.quantiles(errors, n=20)[-1], 2),
        "intervals_that_cover_percent": round(100 * statistics.mean(covered), 1),
    }


def _device(setting: Setting, *, refresh_nanos: int) -> Device:
    return Device(
        gpu_id=GpuId("gpu-0"),
        counter=setting.counter,
        power=FIRST_POWER,
        processes=AttachedProcesses(),
        poll_nanos=100_000_000,
        refresh_nanos=refresh_nanos,
        timing_nanos=refresh_nanos / sqrt(12),
        is_always_there=True,
    )


def _quiet(seconds: float) -> tuple[float, float]:
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


def start_engine(setting: Setting, marks: MarkSink) -> Engine:
    """Load and warm up, as a worker does."""
    model = load_model(setting.model, device=setting.device, dtype=setting.dtype, marks=marks)
    engine = Engine(
        model=DiffusionModel(model), batch_slots=BATCH_SLOTS, interactive_slots=1, marks=marks
    )
    engine.start()
    return engine


def draw_images(engine: Engine, setting: Setting, *, until: float) -> list[DrawnImage]:
    """Draw every kind alone and in batches, in an order of chance."""
    kinds = [(size, steps) for size in setting.sizes for steps in setting.steps]
    alone = kinds * 3
    together = kinds * (IMAGES_PER_KIND - 3)
    chance = random.Random(1)  # noqa: S311 - an order that is the same each time
    chance.shuffle(alone)
    chance.shuffle(together)
    images: list[DrawnImage] = []
    # What compiles or chooses kernels for a new size is no picture's energy.
    _finish([_submit(engine, kind, 900_000 + index)[1] for index, kind in enumerate(kinds)])
    for kind in alone:
        if time.monotonic() > until:
            break
        key, future = _submit(engine, kind, len(images))
        _finish([future])
        images.append(DrawnImage(key=key, spec=_spec(kind), is_alone=True))
    pending: list[Future[Any]] = []
    for kind in together:
        if time.monotonic() > until:
            break
        key, future = _submit(engine, kind, len(images))
        images.append(DrawnImage(key=key, spec=_spec(kind), is_alone=False))
        pending.append(future)
        if len(pending) >= 2 * BATCH_SLOTS:
            wait(pending[:1])
            pending = [future for future in pending if not future.done()]
    _finish(pending)
    return images


def draw_round(engine: Engine, setting: Setting) -> int:
    """Draw two full batches of the largest kind; return how many images that is."""
    kind = (setting.sizes[-1], setting.steps[-1])
    _finish([_submit(engine, kind, 800_000 + number)[1] for number in range(2 * BATCH_SLOTS)])
    return 2 * BATCH_SLOTS


def _submit(engine: Engine, kind: tuple[int, int], number: int) -> tuple[AttemptKey, Future[Any]]:
    key = AttemptKey(f"image{number}", 1)
    future = engine.submit(
        key, _spec(kind), interactive=False, alone=False, progress=lambda _progress: None
    )
    return key, future


def _finish(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        future.result()


def _spec(kind: tuple[int, int]) -> ImageSpec:
    size, steps = kind
    return ImageSpec(
        prompt="a red mug on a blue background",
        negative_prompt="",
        width=size,
        height=size,
        num_inference_steps=steps,
        guidance_scale=4.5,
        seed=35,
        max_sequence_length=77,
    )


def calibration_of(
    setting: Setting,
    refresh: Mapping[str, float],
    watts: Mapping[str, float],
    work: Mapping[str, Any],
) -> Calibration:
    """What the meter may start from on a card of this kind."""
    return Calibration(
        card=setting.counter.facts.display_name,
        driver_version=_driver_version(setting),
        measured_time=datetime.now(UTC).isoformat(timespec="seconds"),
        refresh_milliseconds=refresh["period_ms"],
        free_watts=round(watts["free"], 1),
        idle_watts=round(watts["idle"], 1),
        load_watts=round(watts["load"], 1),
        joules_per_work_unit=work["joules_per_work_unit"],
    )


def _driver_version(setting: Setting) -> str:
    version = setting.driver.nvmlSystemGetDriverVersion()
    return version.decode() if isinstance(version, bytes) else version


def machine(setting: Setting) -> str:
    """The card, the driver, the host."""
    card, driver = setting.counter.facts.display_name, _driver_version(setting)
    return f"{card}, driver {driver}, torch {torch.__version__}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
