"""Jobs, images, pictures and events as the other modules see them; the columns' own names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from metering.price_document import Tier
from services.jobs.image_states import Counters, ImageState, JobState
from tenants.ids import GpuId, ImageId, JobId, KeyId, PriceId, SessionId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What decides a picture, with diffusers' names; sizes in pixels, multiples of 16."""

    model: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    max_sequence_length: int
    output_format: str
    output_quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """An image to accept, and what to hold for it: the most it can cost."""

    spec: ImageSpec
    hold_nanos: int
    labels: Mapping[str, str]
    client_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to accept: 1 to 1,000 images under one pinned price."""

    tenant_id: TenantId
    key_id: KeyId
    display_name: str
    tier: Tier
    project: str
    labels: Mapping[str, str]
    price_id: PriceId
    currency: str
    images: tuple[NewImage, ...]
    max_cost_nanos: int | None = None
    deadline_time: datetime | None = None
    retry_of: JobId | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Counters):
    """A job as stored."""

    tenant_id: TenantId
    job_id: JobId
    state: JobState
    display_name: str
    tier: Tier
    project: str
    labels: Mapping[str, str]
    key_id: KeyId
    price_id: PriceId
    currency: str
    hold_nanos: int
    max_cost_nanos: int | None
    retry_of: JobId | None
    deadline_time: datetime | None
    cancel_wish_time: datetime | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    last_event_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The picture of an image that succeeded; in the spool until ``store_time`` is set."""

    sha256: str
    byte_count: int
    content_type: str
    object_path: str
    spool_name: str
    store_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as stored, with its picture once there is one."""

    tenant_id: TenantId
    job_id: JobId
    image_id: ImageId
    image_number: int
    state: ImageState
    tier: Tier
    spec: ImageSpec
    labels: Mapping[str, str]
    client_ref: str | None
    attempt: int
    lost_attempt_count: int
    hold_nanos: int
    cancel_wish_time: datetime | None
    failure_reason: str | None
    failure_message: str | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    picture: Picture | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something a watcher of a job must not miss; numbered without gaps from 1 in its job."""

    job_id: JobId
    event_number: int
    kind: str
    job_state: JobState
    image_id: ImageId | None
    image_state: ImageState | None
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgress:
    """The newest progress of an image that is being drawn; may be lost with a crash."""

    image_id: ImageId
    attempt: int
    step: int
    step_count: int
    preview: bytes | None
    update_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptKey:
    """What only the holder of an attempt knows: the fence of every move out of RUNNING."""

    image_id: ImageId
    attempt: int
    claim_token: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedImage:
    """An image handed to a worker; ``alone``: nothing else may run beside it."""

    attempt: AttemptKey
    job_id: JobId
    tier: Tier
    spec: ImageSpec
    alone: bool
    traceparent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """Who claims: a session of a worker on a GPU."""

    session_id: SessionId
    gpu_id: GpuId
    model: str
