"""What `service_on_gpu.py` does with an installation that runs: studios, jobs, readings of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import psycopg

import atelier
from atelier.v1.api_key_service_pb2 import ApiKey, KeyRole
from atelier.v1.fleet_service_pb2 import Gpu
from atelier.v1.image_pb2 import Image, ImageSpec, ImageState
from atelier.v1.job_service_pb2 import Job, JobSpec
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import (
    CeilingBound,
    PriceComponent,
    PriceComponentKind,
    PriceTier,
    PriceVersion,
)
from atelier.v1.tenant_service_pb2 import Tenant
from benchmarks.service.timeline import Stretch, where_time_went
from services.standalone.installation import RunningInstallation

PER_IMAGE_NANOS: Final = 20_000_000
PER_KWH_NANOS: Final = 400_000_000
CREDIT_NANOS: Final = 10**12
# Ten times what an H100 takes for Large.
BOUND: Final = CeilingBound(
    energy_millijoules_fixed=2_000_000, energy_millijoules_per_megapixel_step=600_000
)
_WORKED: Final = """
SELECT coalesce(sum(extract(
    epoch FROM least(end_time, %(end)s) - greatest(start_time, %(start)s))), 0)
FROM energy_segments
WHERE kind = 'WORK' AND end_time > %(start)s AND start_time < %(end)s
"""
_STRETCHES: Final = """
SELECT
    extract(epoch FROM segments.start_time)::float8,
    extract(epoch FROM segments.end_time)::float8,
    (SELECT count(*) FROM energy_shares AS shares
     WHERE shares.gpu_id = segments.gpu_id AND shares.epoch = segments.epoch
        AND shares.number = segments.number)
FROM energy_segments AS segments
WHERE segments.kind = 'WORK'
    AND segments.start_time >= to_timestamp(%(start)s)
    AND segments.end_time <= to_timestamp(%(end)s)
"""


class Bench:
    """One installation, its operator and two studios."""

    def __init__(self, running: RunningInstallation) -> None:
        self.installation = running.installation
        self.address = self.installation.gateway_address
        self.operator_key = self.installation.data.operator_key.read_text().strip()
        self._price()
        self.keys = {tenant: self._open(tenant) for tenant in ("acme", "zeta")}

    def operator(self, tenant: str = "-") -> atelier.Client:
        return atelier.Client(self.address, api_key=self.operator_key, tenant=tenant)

    def studio(self, tenant: str) -> atelier.Client:
        return atelier.Client(self.address, api_key=self.keys[tenant])

    def allow(self, duty_cycle: float) -> None:
        """Set how much of its time the card may work; returns when the fleet goes by it."""
        with self.operator() as operator:
            operator.set_power_policy(temperature_celsius_max=85, duty_cycle_max=duty_cycle)
            for news in operator.watch_gpus():
                if all(gpu.duty_cycle == duty_cycle for gpu in news.gpus):
                    return

    def keep_below(self, celsius: float) -> None:
        """Let the card work all of its time as long as it stays cooler than that."""
        with self.operator() as operator:
            operator.set_power_policy(temperature_celsius_max=celsius, duty_cycle_max=1.0)

    def order(self, tenant: str, spec: ImageSpec, count: int) -> Job:
        with self.studio(tenant) as studio:
            return studio.order_job([JobSpec(image=spec, count=count)])

    def finish(self, tenant: str, job: Job) -> list[Image]:
        """Wait for a job; return its images."""
        with self.studio(tenant) as studio:
            studio.wait_for_job(job.name)
            return list(studio.list_images(job.name))

    def order_by_command(self, tenant: str, spec: ImageSpec, count: int, folder: Path) -> float:
        """Order through `atelier jobs create`, fetch every picture; return the seconds it took."""
        campaign = folder / "campaign.jsonl"
        entry = {
            "prompt": spec.prompt,
            "model": spec.model,
            "width": spec.width,
            "height": spec.height,
            "num_inference_steps": spec.num_inference_steps,
        }
        campaign.write_text("".join(f"{json.dumps(entry)}\n" for _ in range(count)))
        environment = {
            **os.environ,
            "ATELIER_ADDRESS": self.address,
            "ATELIER_API_KEY": self.keys[tenant],
        }
        began = time.monotonic()
        subprocess.run(  # noqa: S603 - our own program
            [
                *(sys.executable, "-c", "from atelier.cli.main import main; main()"),
                *("jobs", "create"),
                *("--from", campaign, "--output-dir", folder / "pictures"),
            ],
            env=environment,
            check=True,
        )
        return time.monotonic() - began

    def handovers(self) -> list[dict[str, Any]]:
        """Each worker that became ready, as the fleet logged it."""
        lines = (self.installation.data.logs / "fleet.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if '"event": "worker_ready"' in line]
        kept = ("tenant", "gpu", "model", "from_tenant", "drain_seconds", "cold_start_seconds")
        return [{name: event.get(name) for name in kept} for event in events]

    def bill(self, tenant: str) -> dict[str, Any]:
        """The draft invoice against its images, one by one."""
        with self.studio(tenant) as studio:
            invoice = studio.get_invoice()
            images = [image for job in studio.list_jobs() for image in studio.list_images(job.name)]
        drawn = [image for image in images if image.state == ImageState.IMAGE_STATE_SUCCEEDED]
        receipts_nanos = sum(image.receipt.price.nanos for image in drawn)
        return {
            "images": len(images),
            "drawn": len(drawn),
            "receipts_nanos": receipts_nanos,
            "invoice_net_total_nanos": invoice.net_total.nanos,
            "adds_up": receipts_nanos == invoice.net_total.nanos,
        }

    def reconciliation(self) -> list[dict[str, Any]]:
        """Where the joules went, per GPU and hour; the parts leave a residual of 0 or are wrong."""
        with self.operator() as operator:
            hours = list(operator.get_energy_reconciliation())
        parts = ("counter", "images", "overhead", "in_progress", "parked", "free", "load")
        names = [f"{part}_millijoules" for part in (*parts, "unknown", "residual")]
        return [
            {"gpu": hour.gpu, **{name: getattr(hour, name) for name in names}} for hour in hours
        ]

    def stays(self, tenant: str, images: list[Image]) -> list[dict[str, Any]]:
        """For each card: from which claim to which end it drew for this studio."""
        by_gpu: dict[str, list[Image]] = {}
        for image in images:
            by_gpu.setdefault(image.receipt.gpu, []).append(image)
        return [
            {
                "tenant": tenant,
                "gpu": gpu,
                "images": len(drawn),
                "start_seconds": min(one.start_time.ToNanoseconds() for one in drawn) / 1e9,
                "end_seconds": max(one.end_time.ToNanoseconds() for one in drawn) / 1e9,
            }
            for gpu, drawn in sorted(by_gpu.items())
        ]

    def worked_share(self, start_time: float, end_time: float) -> float:
        """How much of a stretch the card worked, from what the meter booked."""
        url = self.installation.database_urls["atelier_housekeeper"]
        moments = {
            "start": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start_time)),
            "end": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end_time)),
        }
        with psycopg.connect(url) as connection:
            row = connection.execute(_WORKED, moments).fetchone()
        assert row is not None
        return float(row[0]) / (int(end_time) - int(start_time))

    def timeline(self, images: list[Image]) -> dict[str, Any]:
        """Where the card's time went while these images were drawn, as the meter booked it."""
        url = self.installation.database_urls["atelier_housekeeper"]
        bounds = {
            "start": min(image.start_time.ToNanoseconds() for image in images) / 1e9,
            "end": max(image.end_time.ToNanoseconds() for image in images) / 1e9,
        }
        with psycopg.connect(url) as connection:
            rows = connection.execute(_STRETCHES, bounds).fetchall()
        return where_time_went(
            [
                Stretch(start_seconds=start, end_seconds=end, image_count=count)
                for start, end, count in rows
            ],
            start_seconds=bounds["start"],
            end_seconds=bounds["end"],
        )

    def kill_worker(self) -> int:
        """SIGKILL for the one worker; return its process id."""
        with self.operator() as operator:
            (worker,) = [one for one in operator.list_workers().workers if one.process_id]
        os.kill(worker.process_id, signal.SIGKILL)
        return worker.process_id

    def gpu(self) -> Gpu:
        with self.operator() as operator:
            return next(iter(operator.list_gpus()))

    def _price(self) -> None:
        components = {
            PriceComponentKind.PRICE_COMPONENT_KIND_PER_IMAGE: PER_IMAGE_NANOS,
            PriceComponentKind.PRICE_COMPONENT_KIND_PER_KWH: PER_KWH_NANOS,
        }
        with self.operator() as operator:
            operator.create_price_version(
                PriceVersion(
                    currency_code="EUR",
                    components=[
                        PriceComponent(kind=kind, tiers=[PriceTier(unit_price_nanos=nanos)])
                        for kind, nanos in components.items()
                    ],
                    ceiling_bounds=[BOUND],
                )
            )

    def _open(self, tenant: str) -> str:
        with self.operator(tenant) as operator:
            operator.create_tenant(tenant, Tenant(display_name=tenant, currency_code="EUR"))
            operator.grant_credit(Money(currency_code="EUR", nanos=CREDIT_NANOS), description="-")
            return operator.create_api_key(ApiKey(role=KeyRole.KEY_ROLE_ADMIN)).secret
