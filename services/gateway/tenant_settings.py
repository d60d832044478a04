"""What a tenant's own admins may set; what nothing stands behind yet is refused and not stored."""

from collections.abc import Mapping
from typing import Final

from atelier.v1 import image_pb2, tenant_service_pb2
from services.gateway.conversions import enum_number, enum_text
from services.gateway.errors import invalid_field, unsupported_parameter
from tenants.tenant_store import Tenant

_DEFAULT_OUTPUT_FORMAT: Final = "default_output_format"
# A setting that is stored and obeyed by nobody would be taken for a promise.
_NOT_BUILT: Final[Mapping[str, str]] = {
    "prompt_policy": "is not implemented yet: prompts are not judged",
    "palette": "is not implemented yet: pictures are not inspected",
}


def wanted_output_format(request: tenant_service_pb2.UpdateTenantSettingsRequest) -> str | None:
    """Read the one setting that can be changed; None leaves it to the installation.

    Raises:
        CallRefusedError: FIELD_VIOLATION when the mask names nothing, UNSUPPORTED_PARAMETER for
            whatever else it names.
    """
    if not request.update_mask.paths:
        raise invalid_field("update_mask", "must name what to change")
    for path in request.update_mask.paths:
        if path in _NOT_BUILT:
            raise unsupported_parameter(f"settings.{path}", _NOT_BUILT[path])
        if path != _DEFAULT_OUTPUT_FORMAT:
            raise unsupported_parameter("update_mask", "names what cannot be changed")
    return enum_text(image_pb2.OutputFormat, request.settings.default_output_format) or None


def settings_message(tenant: Tenant) -> tenant_service_pb2.TenantSettings | None:
    """Tell what has been set; None when nothing has."""
    if tenant.default_output_format is None:
        return None
    return tenant_service_pb2.TenantSettings(
        default_output_format=enum_number(image_pb2.OutputFormat, tenant.default_output_format)
    )
