"""What a scrape shows of its sources: what can be read, once a second, and nothing made up."""

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.metrics import names
from services.metrics.exposition import Exposition
from services.metrics.metric import Sample


class Clock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds


def scraped(exposition: Exposition) -> dict[tuple[str, ...], float]:
    """By name and values of labels."""
    text = generate_latest(exposition.registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_samples_of_one_metric_from_two_sources_stand_under_one_name() -> None:
    exposition = Exposition("gateway")
    exposition.add("one", lambda: [Sample(names.POOL_WAITING, 1, ("gateway",))])
    exposition.add("other", lambda: [Sample(names.POOL_WAITING, 2, ("operator",))])

    found = scraped(exposition)

    assert found["atelier_database_pool_waiting", "gateway"] == 1
    assert found["atelier_database_pool_waiting", "operator"] == 2


def test_a_counter_ends_in_total_and_the_process_says_who_it_is() -> None:
    exposition = Exposition("recorder")
    exposition.add("uploads", lambda: [Sample(names.UPLOADS, 7)])

    found = scraped(exposition)

    assert found["atelier_recorder_uploads_total",] == 7
    assert found["atelier_build_info", "recorder", "0.1.0"] == 1
    assert found["process_start_time_seconds",] > 0


def test_a_source_that_fails_is_left_out_and_counted_and_the_others_stay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> list[Sample]:
        raise RuntimeError("a defect")

    exposition = Exposition("recorder")
    exposition.add("spool", fail)
    exposition.add("uploads", lambda: [Sample(names.UPLOADS, 7)])

    found = scraped(exposition)

    assert found["atelier_metrics_source_failures_total", "spool"] == 1
    assert found["atelier_metrics_source_failures_total", "uploads"] == 0
    assert found["atelier_recorder_uploads_total",] == 7
    assert "metrics_source_failed" in capsys.readouterr().out


def test_sources_are_read_at_most_once_a_second_however_many_scrape() -> None:
    clock = Clock()
    reads: list[float] = []
    exposition = Exposition("recorder", monotonic_seconds=clock.now)
    exposition.add("spool", lambda: reads.append(clock.seconds) or [])

    for _ in range(50):
        scraped(exposition)
    clock.seconds += 1.0
    scraped(exposition)

    assert reads == [100.0, 101.0]
