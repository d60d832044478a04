"""A scrape as Prometheus does it: HTTP, and the text format parsed."""

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.installation import PATIENCE_SECONDS, Process

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What one answer held: samples by name and labels, these in the order of their names."""

    samples: Mapping[tuple[str, ...], float]

    @property
    def names(self) -> set[str]:
        return {name for name, *_ in self.samples}

    def of(self, name: str) -> Mapping[Labels, float]:
        """All samples of a name by their labels."""
        return {key[1:]: value for key, value in self.samples.items() if key[0] == name}

    def value(self, name: str, *labels: str) -> float:
        return self.samples[name, *labels]


def scrape(port: int, *, path: str = "/metrics") -> Scrape:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text = answer.read().decode()
    return Scrape(
        samples={
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def status_of(port: int, *, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def event_of(process: Process, event: str) -> Mapping[str, Any]:
    """Wait until a process has logged something; returns the line."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for line in process.log().splitlines():
            if f'"event": "{event}"' in line:
                return json.loads(line)
        assert process.is_running, process.log()
        assert time.monotonic() < deadline, process.log()
        time.sleep(0.05)
