"""Every process answers scrapes, and together they tell all that the list of metrics names."""

import time
from collections.abc import Callable, Mapping

import pytest

import atelier
from services.metrics import names
from services.metrics.metric import Kind
from tests.integration.installation import PATIENCE_SECONDS
from tests.integration.services.metrics.conftest import PROCESSES, Running
from tests.integration.services.metrics.scraping import Scrape, scrape, status_of


def exported(running: Running) -> Mapping[str, Scrape]:
    return {name: scrape(port) for name, port in running.ports.items()}


def until(running: Running, process: str, is_so: Callable[[Scrape], bool], what: str) -> Scrape:
    """Scrape until it is so; what a scrape shows may be a second old."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so(found := scrape(running.ports[process])):
        assert time.monotonic() < deadline, f"{process} does not tell {what}"
        time.sleep(0.2)
    return found


def until_told(running: Running, process: str, name: str) -> Scrape:
    """Scrape until a process has something to say under a name."""
    return until(running, process, lambda found: name in found.names, name)


def refused(client: atelier.Client) -> None:
    with client, pytest.raises(atelier.AtelierError):
        list(client.list_tenants())


def in_text(name: str, kind: Kind) -> str:
    """How a metric's first sample is called in a scrape."""
    return f"{name}_count" if kind is Kind.HISTOGRAM else name


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_says_what_it_is_and_nothing_elsewhere(running: Running, process: str) -> None:
    found = scrape(running.ports[process])

    assert found.value("atelier_build_info", process, "0.1.0") == 1
    assert found.value("process_start_time_seconds") <= time.time()
    assert set(found.of("atelier_metrics_source_failures_total").values()) == {0.0}
    assert status_of(running.ports[process], path="/") == 404


def test_together_they_tell_every_metric_of_the_list(running: Running) -> None:
    with running.client() as operator:
        list(operator.list_tenants())
    wanted = {in_text(metric.name, metric.kind) for metric in names.ALL}
    deadline = time.monotonic() + PATIENCE_SECONDS
    told: set[str] = set()
    while wanted - told and time.monotonic() < deadline:
        # The uploader clears away what nobody waits for.
        (running.spool / "image.1.token").write_bytes(b"a picture")
        told |= {name for found in exported(running).values() for name in found.names}

    assert wanted - told == set()
    assert {name for name in told - wanted if name.startswith("atelier_")} == {
        f"{names.CALL_SECONDS.name}_{part}" for part in ("bucket", "sum", "created")
    }


def test_a_key_that_opens_nothing_is_counted_as_rejected(running: Running) -> None:
    before = scrape(running.ports["gateway"]).value("atelier_gateway_refusals_total", "KEY_INVALID")

    refused(running.client("atl_live_forged"))

    found = until(
        running,
        "gateway",
        lambda one: one.value("atelier_gateway_refusals_total", "KEY_INVALID") == before + 1,
        "the refusal",
    )
    assert (
        found.value("atelier_gateway_calls_total", "UNAUTHENTICATED", "TenantService/ListTenants")
        >= 1
    )


def test_the_fleet_tells_how_much_waits_of_whom_and_since_when(running: Running) -> None:
    found = until_told(running, "fleet", names.OLDEST_QUEUED.name)

    assert found.of("atelier_fleet_images") == {("QUEUED", "acme"): 2, ("RUNNING", "acme"): 0}
    # Ten seconds for each picture before any was measured.
    assert found.value("atelier_fleet_backlog_gpu_seconds", "acme") == 20
    assert time.time() - found.value("atelier_fleet_oldest_queued_timestamp_seconds", "acme") < 600
    assert found.value("atelier_fleet_active") == 1
    assert found.value("atelier_database_up") == 1


def test_the_meter_tells_what_the_driver_says_of_its_card(running: Running) -> None:
    found = until_told(running, "meter", names.LAST_READING.name)

    assert found.value("atelier_meter_gpu_temperature_celsius", "gpu-0") == 81
    assert found.value("atelier_meter_gpu_busy_ratio", "gpu-0") == 0.87
    assert found.value("atelier_meter_gpu_throttled", "gpu-0", "SW_THERMAL_SLOWDOWN") == 1
    assert found.value("atelier_meter_counter_up", "gpu-0") == 1
    assert found.value("atelier_meter_energy_joules_total", "gpu-0", "NVML_COUNTER") > 3_000_000
    assert abs(time.time() - found.value(names.LAST_READING.name, "gpu-0")) < 60


def test_the_housekeeper_tells_of_its_duties_and_of_broken_sums(running: Running) -> None:
    found = until_told(running, "housekeeper", names.VIOLATIONS.name)

    assert found.value("atelier_housekeeper_duty_period_seconds", "ledger sealing") == 10
    assert set(found.of("atelier_housekeeper_invariant_violations").values()) == {0.0}
    assert ("usage_differs_from_captures", "all") in found.of(names.VIOLATIONS.name)
    assert found.value("atelier_housekeeper_duty_rounds_total", "invariants", "failed") == 0
