"""A request id belongs to one call with one body."""

from uuid import uuid4

import pytest
from psycopg import AsyncConnection

from services.jobs.errors import RequestIdReusedError
from services.jobs.requests import claim_request
from tenants.ids import TenantId

ACME = TenantId("acme-of-requests")


@pytest.mark.parametrize(
    ("method", "body_sha256"), [("CreateJob", b"1" * 32), ("GenerateImage", b"0" * 32)]
)
async def test_the_same_id_with_another_call_or_body_is_refused(
    connection: AsyncConnection, method: str, body_sha256: bytes
) -> None:
    request_id = uuid4()
    await claim_request(
        connection,
        tenant_id=ACME,
        request_id=request_id,
        method="CreateJob",
        body_sha256=b"0" * 32,
    )

    with pytest.raises(RequestIdReusedError):
        await claim_request(
            connection,
            tenant_id=ACME,
            request_id=request_id,
            method=method,
            body_sha256=body_sha256,
        )
