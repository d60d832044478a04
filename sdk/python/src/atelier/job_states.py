"""Which states are an end."""

from atelier.v1.image_pb2 import Image, ImageState
from atelier.v1.job_service_pb2 import Job, JobState

_FINISHED_JOB_STATES = {
    JobState.JOB_STATE_SUCCEEDED,
    JobState.JOB_STATE_PARTIALLY_SUCCEEDED,
    JobState.JOB_STATE_CANCELLED,
    JobState.JOB_STATE_FAILED,
}
_FINISHED_IMAGE_STATES = {
    ImageState.IMAGE_STATE_SUCCEEDED,
    ImageState.IMAGE_STATE_FAILED,
    ImageState.IMAGE_STATE_BLOCKED,
    ImageState.IMAGE_STATE_CANCELLED,
}


def job_is_finished(job: Job) -> bool:
    """Tell whether a job's state is terminal."""
    return job.state in _FINISHED_JOB_STATES


def job_needs_nobody(job: Job) -> bool:
    """Tell whether nothing more happens by itself: finished, or only a person can go on."""
    return job_is_finished(job) or job.state == JobState.JOB_STATE_AWAITING_REVIEW


def image_is_finished(image: Image) -> bool:
    """Tell whether an image's state is terminal."""
    return image.state in _FINISHED_IMAGE_STATES


def image_came(image: Image) -> bool:
    """Tell whether there is a picture to download."""
    return image.state == ImageState.IMAGE_STATE_SUCCEEDED
