"""Names that callers give: taken apart, and refused when the caller may not know what they name."""

from dataclasses import dataclass

from services.gateway import resource_names
from services.gateway.callers import Caller, reachable_tenant
from services.gateway.errors import not_found
from services.gateway.resource_names import NamePattern
from tenants.ids import ImageId, JobId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class JobName:
    """A job that a caller may name."""

    tenant_id: TenantId
    job_id: JobId

    @property
    def text(self) -> str:
        """The job's resource name."""
        return resource_names.JOB.write(self.tenant_id, self.job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """An image that a caller may name."""

    job: JobName
    image_id: ImageId

    @property
    def text(self) -> str:
        """The image's resource name."""
        return resource_names.IMAGE.write(self.job.tenant_id, self.job.job_id, self.image_id)


def named_tenant(caller: Caller, parent: str) -> TenantId:
    """Read `tenants/{tenant}`.

    Raises:
        CallRefusedError: NOT_FOUND, when the caller may not know whether it exists.
    """
    return _parsed(resource_names.TENANT, caller, parent)[0]


def named_job(caller: Caller, name: str) -> JobName:
    """Read a job's name.

    Raises:
        CallRefusedError: NOT_FOUND, when the caller may not know whether it exists.
    """
    tenant_id, ids = _parsed(resource_names.JOB, caller, name)
    return JobName(tenant_id=tenant_id, job_id=JobId(ids[0]))


def named_image(caller: Caller, name: str) -> ImageName:
    """Read an image's name.

    Raises:
        CallRefusedError: NOT_FOUND, when the caller may not know whether it exists.
    """
    tenant_id, ids = _parsed(resource_names.IMAGE, caller, name)
    job = JobName(tenant_id=tenant_id, job_id=JobId(ids[0]))
    return ImageName(job=job, image_id=ImageId(ids[1]))


def named_balance(caller: Caller, name: str) -> TenantId:
    """Read `tenants/{tenant}/balance`.

    Raises:
        CallRefusedError: NOT_FOUND, when the caller may not know whether it exists.
    """
    return _parsed(resource_names.BALANCE, caller, name)[0]


def named_part(pattern: NamePattern, caller: Caller, name: str) -> tuple[TenantId, str]:
    """Read the name of something directly below a tenant: the tenant and the thing's id.

    Raises:
        CallRefusedError: NOT_FOUND, when the caller may not know whether it exists.
    """
    tenant_id, ids = _parsed(pattern, caller, name)
    return tenant_id, ids[0]


def _parsed(pattern: NamePattern, caller: Caller, name: str) -> tuple[TenantId, tuple[str, ...]]:
    parsed = pattern.parse(name)
    if parsed is None:
        raise not_found(name)
    return reachable_tenant(caller, parsed[0], resource_name=name), parsed[1:]
