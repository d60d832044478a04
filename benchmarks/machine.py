"""What every benchmark says of the machine it ran on, and how it writes its result down."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory, system, and how busy it was just now."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def processor_name() -> str:
    """As the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write_result(result: Mapping[str, object], path: Path) -> None:
    """With the time of the measurement."""
    path.parent.mkdir(parents=True, exist_ok=True)
    timed = {"measure_time": datetime.now(UTC).isoformat(timespec="seconds"), **result}
    path.write_text(json.dumps(timed, indent=2, ensure_ascii=False) + "\n")
    print(f"written to {path}")
