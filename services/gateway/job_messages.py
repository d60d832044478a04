"""Jobs, images, receipts and progress as the contract's messages."""

from collections.abc import Sequence
from typing import Final

from atelier.v1 import energy_pb2, image_pb2, job_service_pb2
from metering.energy_source import EnergySource
from metering.rating import RatedLine
from metering.usage_records import Receipt, UsageOutcome, UsageRecord
from services.gateway import resource_names
from services.gateway.conversions import enum_number, to_money, to_timestamp
from services.gateway.finish_forecast import NOTHING_KNOWN, Forecast
from services.jobs.image_states import ImageState
from services.jobs.records import Image, ImageProgress, ImageSpec, Job, Picture

_WITH_FAILURE: Final = frozenset({ImageState.FAILED, ImageState.BLOCKED})


def job_message(
    job: Job, *, price_nanos: int, expected: Forecast = NOTHING_KNOWN
) -> job_service_pb2.Job:
    """Write a job; ``price_nanos`` is what its images cost so far."""
    return job_service_pb2.Job(
        name=resource_names.JOB.write(job.tenant_id, job.job_id),
        display_name=job.display_name,
        tier=enum_number(image_pb2.Tier, job.tier),
        project=job.project,
        labels=job.labels,
        max_cost=(
            None if job.max_cost_nanos is None else to_money(job.max_cost_nanos, job.currency)
        ),
        deadline_time=to_timestamp(job.deadline_time),
        state=enum_number(job_service_pb2.JobState, job.state),
        image_count=job.image_count,
        queued_count=job.queued_count,
        running_count=job.running_count,
        quarantined_count=job.quarantined_count,
        succeeded_count=job.succeeded_count,
        failed_count=job.failed_count,
        blocked_count=job.blocked_count,
        cancelled_count=job.cancelled_count,
        queue_position=expected.queue_position,
        estimated_finish_time=to_timestamp(expected.finish_time),
        hold=to_money(job.hold_nanos, job.currency),
        price=to_money(price_nanos, job.currency),
        price_version=resource_names.PRICE_VERSION.write(job.price_id),
        api_key=resource_names.API_KEY.write(job.tenant_id, job.key_id),
        retry_of=resource_names.JOB.write(job.tenant_id, job.retry_of) if job.retry_of else "",
        create_time=to_timestamp(job.create_time),
        start_time=to_timestamp(job.start_time),
        end_time=to_timestamp(job.end_time),
        cancel_time=to_timestamp(job.cancel_wish_time),
    )


def image_message(
    image: Image, *, receipt: Receipt | None = None, progress: ImageProgress | None = None
) -> image_pb2.Image:
    """Write an image as it stands."""
    failed = image.state in _WITH_FAILURE
    succeeded = image.state is ImageState.SUCCEEDED
    running = image.state is ImageState.RUNNING
    return image_pb2.Image(
        name=image_name(image),
        image_number=image.image_number,
        spec=_spec_message(image),
        state=enum_number(image_pb2.ImageState, image.state),
        attempt=image.attempt,
        failure=_failure_message(image) if failed else None,
        receipt=receipt_message(receipt, image.picture) if receipt and succeeded else None,
        file=file_message(image.picture, image.spec) if image.picture and succeeded else None,
        progress=progress_message(image, progress, with_preview=False)
        if progress and running
        else None,
        create_time=to_timestamp(image.create_time),
        start_time=to_timestamp(image.start_time),
        end_time=to_timestamp(image.end_time),
        tier=enum_number(image_pb2.Tier, image.tier),
    )


def image_message_at(
    image: Image, state: ImageState, *, receipt: Receipt | None
) -> image_pb2.Image:
    """Write an image in a state it had, when it may have gone on since.

    What came with later states is left out: the event that tells of them follows.
    """
    if state is image.state:
        return image_message(image, receipt=receipt)
    message = image_message(image)
    message.state = enum_number(image_pb2.ImageState, state)
    for field in ("failure", "receipt", "file", "progress", "end_time"):
        message.ClearField(field)
    if state is ImageState.QUEUED:
        message.ClearField("start_time")
    return message


def image_name(image: Image) -> str:
    """Return an image's resource name."""
    return resource_names.IMAGE.write(image.tenant_id, image.job_id, image.image_id)


def file_message(picture: Picture, spec: ImageSpec) -> image_pb2.PictureFile:
    """Write what is known of a picture's file."""
    return image_pb2.PictureFile(
        content_type=picture.content_type,
        byte_count=picture.byte_count,
        sha256=picture.sha256,
        width=spec.width,
        height=spec.height,
    )


def progress_message(
    image: Image, progress: ImageProgress, *, with_preview: bool
) -> image_pb2.ImageProgress:
    """Write how far an image is."""
    return named_progress_message(image_name(image), progress, with_preview=with_preview)


def named_progress_message(
    name: str, progress: ImageProgress, *, with_preview: bool
) -> image_pb2.ImageProgress:
    """Write how far the image of that name is."""
    return image_pb2.ImageProgress(
        image=name,
        attempt=progress.attempt,
        step=progress.step,
        step_count=progress.step_count,
        preview=(progress.preview or b"") if with_preview else b"",
    )


def receipt_message(receipt: Receipt, picture: Picture | None = None) -> image_pb2.Receipt:
    """Write what was done for an image and what it cost."""
    usage = receipt.usage
    charged = usage.outcome is UsageOutcome.SUCCEEDED
    return image_pb2.Receipt(
        seed=usage.seed,
        model=resource_names.MODEL.write(usage.model),
        precision=usage.precision,
        attempt=usage.attempt,
        batch_shares=[
            image_pb2.BatchShare(batch_size=share.batch_size, step_count=share.step_count)
            for share in usage.batch_shares
        ],
        gpu=resource_names.GPU.write(usage.gpu_id) if usage.gpu_id else "",
        gpu_seconds=usage.gpu_seconds,
        queue_seconds=usage.queue_seconds,
        energy_millijoules=usage.energy_millijoules,
        energy_error_millijoules=usage.energy_error_millijoules,
        energy_source=energy_source_number(usage.energy_source),
        price_lines=_line_messages(usage, receipt.lines),
        price=to_money(usage.price_nanos, usage.currency) if charged else None,
        price_version=resource_names.PRICE_VERSION.write(usage.price_id),
        sha256=picture.sha256 if picture else "",
    )


def energy_source_number(source: EnergySource) -> energy_pb2.EnergySource.ValueType:
    """Write a source; NONE is the wire's unset value."""
    if source is EnergySource.NONE:
        return energy_pb2.ENERGY_SOURCE_UNSPECIFIED
    return enum_number(energy_pb2.EnergySource, source)


def _line_messages(usage: UsageRecord, lines: Sequence[RatedLine]) -> list[image_pb2.PriceLine]:
    return [
        image_pb2.PriceLine(
            component=line.component,
            consumed_quantity=f"{line.consumed_quantity:f}",
            consumed_unit=line.consumed_unit,
            list_unit_price_nanos=f"{line.list_unit_price_nanos:f}",
            billed_cost=to_money(line.billed_cost_nanos, usage.currency),
        )
        for line in lines
    ]


def _failure_message(image: Image) -> image_pb2.ImageFailure:
    return image_pb2.ImageFailure(
        reason=image.failure_reason or "", message=image.failure_message or ""
    )


def _spec_message(image: Image) -> image_pb2.ImageSpec:
    spec = image.spec
    return image_pb2.ImageSpec(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        width=spec.width,
        height=spec.height,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        seed=spec.seed,
        max_sequence_length=spec.max_sequence_length,
        model=resource_names.MODEL.write(spec.model),
        output_format=enum_number(image_pb2.OutputFormat, spec.output_format),
        output_quality=spec.output_quality,
        labels=image.labels,
        client_ref=image.client_ref or "",
    )
