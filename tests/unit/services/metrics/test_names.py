"""The list of all metrics keeps Prometheus' conventions."""

import os
import re

import pytest

from services.metrics import names
from services.metrics.metric import Kind, Metric
from tests.unit.services.metrics.metric_table import table, write, written

PROCESSES = ("gateway", "recorder", "meter", "fleet", "housekeeper")


FOREIGN_UNITS = ("milliseconds", "minutes", "hours", "kilobytes", "millijoules", "percent", "kwh")


def each(metric: Metric) -> str:
    return metric.name


def test_no_two_metrics_have_one_name() -> None:
    assert len({metric.name for metric in names.ALL}) == len(names.ALL)


@pytest.mark.parametrize("metric", names.ALL, ids=each)
def test_a_name_says_whose_it_is_and_ends_in_its_unit(metric: Metric) -> None:
    brand, room, *rest = metric.name.split("_")

    assert brand == "atelier"
    assert room in {*PROCESSES, "database", "metrics", "build"}
    assert not set(rest) & set(FOREIGN_UNITS)
    assert re.fullmatch(r"[a-z_]+", metric.name)


@pytest.mark.parametrize("metric", names.ALL, ids=each)
def test_counters_and_no_others_end_in_total(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)


@pytest.mark.parametrize("metric", names.ALL, ids=each)
def test_labels_are_of_the_few_kinds_whose_values_the_operator_bounds(metric: Metric) -> None:
    of_the_contract = {"method", "code", "reason", "state", "kind", "energy_source", "source"}
    of_the_code = {"process", "version", "pool", "duty", "result", "invariant", "look"}
    # As many as the operator has bought, and as many as he has let in.
    of_the_operator = {"gpu", "tenant"}

    assert set(metric.labels) <= of_the_contract | of_the_code | of_the_operator


def test_tenants_are_told_of_by_the_fleets_backlog_alone() -> None:
    told = [metric.name for metric in names.ALL if "tenant" in metric.labels]

    assert told == [
        "atelier_fleet_images",
        "atelier_fleet_backlog_gpu_seconds",
        "atelier_fleet_oldest_queued_timestamp_seconds",
    ]


def test_the_page_of_metrics_is_made_of_the_list() -> None:
    if os.environ.get("ATELIER_WRITE_METRICS_PAGE"):
        write()

    assert written() == table()
