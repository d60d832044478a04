"""From the requests that order images to what is wished for."""

from collections.abc import Callable
from datetime import datetime

from atelier.v1 import image_pb2, job_service_pb2
from metering.price_document import Tier
from services.gateway.acceptance import Wish
from services.gateway.callers import Caller
from services.gateway.conversions import enum_text, to_datetime
from services.gateway.errors import invalid_field, unsupported_parameter
from services.gateway.job_plan import PlannedImage, allowed_catalogue, plan_images
from services.jobs.model_catalogue import ModelCatalogue
from services.jobs.records import Image, Job
from tenants.tenant_store import Tenant


def wish_of_job(
    job: job_service_pb2.Job,
    *,
    caller: Caller,
    tenant: Tenant,
    catalogue: ModelCatalogue,
    draw_seed: Callable[[], int],
    now: datetime,
) -> Wish:
    """Read what a CreateJob request wishes for.

    Raises:
        CallRefusedError: FIELD_VIOLATION, UNSUPPORTED_PARAMETER or MODEL_NOT_ALLOWED.
    """
    if job.webhook:
        raise unsupported_parameter("job.webhook", "webhooks are not available yet")
    return Wish(
        display_name=job.display_name,
        tier=Tier(enum_text(image_pb2.Tier, job.tier) or Tier.BATCH),
        project=job.project or caller.project,
        labels=dict(job.labels),
        images=plan_images(
            job.specs,
            catalogue=catalogue,
            allowed=allowed_catalogue(catalogue, tenant.allowed_models),
            output_format=tenant.default_output_format,
            job_labels=job.labels,
            draw_seed=draw_seed,
        ),
        max_cost_nanos=job.max_cost.nanos if job.HasField("max_cost") else None,
        max_cost_currency=job.max_cost.currency_code,
        deadline_time=_deadline(job, now=now),
    )


def wish_of_retry(job: Job, failed: list[Image], *, caller: Caller) -> Wish:
    """Wish for the failed images of a job once more, with the same seeds."""
    return Wish(
        display_name=job.display_name,
        tier=job.tier,
        project=job.project or caller.project,
        labels=job.labels,
        images=tuple(
            PlannedImage(spec=image.spec, labels=image.labels, client_ref=image.client_ref)
            for image in failed
        ),
        max_cost_nanos=None,
        max_cost_currency="",
        deadline_time=None,
        retry_of=job.job_id,
    )


def _deadline(job: job_service_pb2.Job, *, now: datetime) -> datetime | None:
    if not job.HasField("deadline_time"):
        return None
    deadline_time = to_datetime(job.deadline_time, field="job.deadline_time")
    if deadline_time <= now:
        raise invalid_field("job.deadline_time", "must be in the future")
    return deadline_time
