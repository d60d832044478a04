"""BillingService: the proof of a tenant's ledger."""

from typing import Any

import grpc.aio

from atelier.v1 import billing_service_pb2
from database.pool import tenant_snapshot
from metering.ledger_chain import verify_ledger
from services.gateway.billing_calls import BillingCalls, existing_tenant
from services.gateway.callers import current_caller
from services.gateway.scopes import named_tenant

_Context = grpc.aio.ServicerContext[Any, Any]


class LedgerCalls(BillingCalls):
    """Derives what stands in the ledger anew."""

    async def VerifyLedger(
        self, request: billing_service_pb2.VerifyLedgerRequest, context: _Context
    ) -> billing_service_pb2.VerifyLedgerResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        async with tenant_snapshot(self._pool, tenant_id) as conn:
            await existing_tenant(conn, tenant_id, request.parent)
            proof = await verify_ledger(conn, tenant_id)
        return billing_service_pb2.VerifyLedgerResponse(
            consistent=proof.first_inconsistency is None,
            transfer_count=proof.transfer_count,
            block_count=proof.block_count,
            first_inconsistency=proof.first_inconsistency or "",
        )
