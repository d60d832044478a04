"""What a studio's admin sets takes effect, and what nothing stands behind is refused."""

import asyncio
import json
from typing import LiteralString

import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from atelier.cli.main import run
from atelier.v1 import audit_service_pb2, image_pb2, job_service_pb2, tenant_service_pb2
from tests.integration.fixture_types import RoleConnection
from tests.integration.services.gateway.gateway_fixtures import (
    Client,
    ServedGateway,
    Studio,
    create_job,
    refusal,
    spec,
)

pytestmark = pytest.mark.integration

WEBP = tenant_service_pb2.TenantSettings(default_output_format=image_pb2.OUTPUT_FORMAT_WEBP)


async def update(
    client: Client,
    studio: Studio,
    settings: tenant_service_pb2.TenantSettings,
    *paths: str,
) -> tenant_service_pb2.Tenant:
    return await client.tenants.UpdateTenantSettings(
        tenant_service_pb2.UpdateTenantSettingsRequest(
            name=f"tenants/{studio.tenant_id}",
            settings=settings,
            update_mask=FieldMask(paths=paths),
        )
    )


async def drawn_formats(studio: Studio, *specs: job_service_pb2.JobSpec) -> list[int]:
    job = await studio.member.jobs.CreateJob(create_job(*specs))
    images = await studio.member.jobs.ListImages(job_service_pb2.ListImagesRequest(parent=job.name))
    return [image.spec.output_format for image in images.images]


async def test_a_default_format_holds_for_specs_that_name_none(acme: Studio, zeta: Studio) -> None:
    told = await update(acme.admin, acme, WEBP, "default_output_format")

    assert told.settings == WEBP
    assert await drawn_formats(acme, spec(), spec(output_format=image_pb2.OUTPUT_FORMAT_JPEG)) == [
        image_pb2.OUTPUT_FORMAT_WEBP,
        image_pb2.OUTPUT_FORMAT_JPEG,
    ]
    assert await drawn_formats(zeta, spec()) == [image_pb2.OUTPUT_FORMAT_PNG]


async def test_a_default_format_is_taken_back_and_written_down(acme: Studio) -> None:
    await update(acme.admin, acme, WEBP, "default_output_format")

    told = await update(
        acme.admin, acme, tenant_service_pb2.TenantSettings(), "default_output_format"
    )
    trail = await acme.admin.audit.ListAuditEvents(
        audit_service_pb2.ListAuditEventsRequest(parent=f"tenants/{acme.tenant_id}")
    )

    assert not told.HasField("settings")
    assert await drawn_formats(acme, spec()) == [image_pb2.OUTPUT_FORMAT_PNG]
    assert trail.audit_events[0].method.endswith("UpdateTenantSettings")


@pytest.mark.parametrize("field", ["prompt_policy", "palette"])
async def test_a_setting_that_nothing_obeys_is_refused_and_nothing_else_is_stored(
    acme: Studio, field: str
) -> None:
    refused = await refusal(
        update(
            acme.admin,
            acme,
            tenant_service_pb2.TenantSettings(
                default_output_format=image_pb2.OUTPUT_FORMAT_WEBP,
                prompt_policy=tenant_service_pb2.PROMPT_POLICY_STRICT,
                palette=["#ff0000"],
            ),
            "default_output_format",
            field,
        )
    )

    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "UNSUPPORTED_PARAMETER")
    assert await drawn_formats(acme, spec()) == [image_pb2.OUTPUT_FORMAT_PNG]


async def test_the_command_line_sets_shows_and_takes_back(
    gateway: ServedGateway, acme: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    async def settings(*arguments: str) -> object:
        assert acme.admin.key is not None
        flags = ["--address", gateway.address, "--api-key", acme.admin.key, "--format", "json"]
        capsys.readouterr()
        assert await asyncio.to_thread(run, [*flags, "settings", *arguments]) == 0
        told = capsys.readouterr().out
        # The gateway serves in this process and logs beside it.
        tenant = json.loads(told[told.index("\n{") if "\n{" in told else 0 :])
        return tenant.get("settings", {}).get("default_output_format")

    before = await settings()
    changed = await settings("--picture-format", "webp")
    shown = await settings()
    taken_back = await settings("--picture-format-unset")

    assert (before, changed, shown) == (None, "OUTPUT_FORMAT_WEBP", "OUTPUT_FORMAT_WEBP")
    assert taken_back is None


async def test_settings_are_for_the_own_admin(acme: Studio, zeta: Studio) -> None:
    member = await refusal(update(acme.member, acme, WEBP, "default_output_format"))
    stranger = await refusal(update(zeta.admin, acme, WEBP, "default_output_format"))

    assert member.reason == "ROLE_REQUIRED"
    assert stranger.code == "NOT_FOUND"


@pytest.mark.parametrize("change", ["state = 'SUSPENDED'", "gpu_weight = 100", "price_book = 'x'"])
async def test_a_broken_gateway_cannot_change_what_the_operator_sets(
    role_connection: RoleConnection, acme: Studio, change: LiteralString
) -> None:
    async with role_connection("atelier_gateway", tenant_id=acme.tenant_id) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(b"UPDATE tenants SET " + change.encode())
