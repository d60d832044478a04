"""RefundCredit: credit that was paid back outside leaves the wallet, once for its request id."""

from uuid import uuid4

from atelier.v1 import billing_service_pb2, money_pb2
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    create_job,
    refusal,
    spec,
)

CREDIT_NANOS = 5_000_000


def refund(
    studio: Studio, nanos: int, *, currency: str = "USD"
) -> billing_service_pb2.RefundCreditRequest:
    return billing_service_pb2.RefundCreditRequest(
        parent=f"tenants/{studio.tenant_id}",
        amount=money_pb2.Money(currency_code=currency, nanos=nanos),
        reference="wire 4711",
        request_id=str(uuid4()),
    )


async def test_a_refund_sent_twice_is_booked_once(gateway: ServedGateway) -> None:
    studio = await gateway.new_tenant(credit_nanos=CREDIT_NANOS)
    wish = refund(studio, 2_000_000)

    first = await gateway.operator.billing.RefundCredit(wish)
    again = await gateway.operator.billing.RefundCredit(wish)
    wish.amount.nanos = 1
    reused = await refusal(gateway.operator.billing.RefundCredit(wish))

    assert again.transfer == first.transfer
    assert again.balance.posted.nanos == CREDIT_NANOS - 2_000_000
    assert (first.transfer.debit_account, first.transfer.credit_account) == ("wallet", "funding")
    assert first.transfer.description == "wire 4711"
    assert reused.reason == "REQUEST_ID_REUSED"


async def test_no_more_is_paid_back_than_was_prepaid_and_is_free(gateway: ServedGateway) -> None:
    limit = money_pb2.Money(currency_code="USD", nanos=1_000_000)
    studio = await gateway.new_tenant(credit_nanos=CREDIT_NANOS, credit_limit=limit)
    await studio.member.jobs.CreateJob(create_job(spec(1)))
    held = (
        await studio.admin.billing.GetBalance(
            billing_service_pb2.GetBalanceRequest(name="tenants/-/balance")
        )
    ).held.nanos

    too_much = await refusal(
        gateway.operator.billing.RefundCredit(refund(studio, CREDIT_NANOS - held + 1))
    )
    elsewhere = await refusal(
        gateway.operator.billing.RefundCredit(refund(studio, 1, currency="EUR"))
    )
    all_of_it = await gateway.operator.billing.RefundCredit(refund(studio, CREDIT_NANOS - held))
    listed = await studio.admin.billing.ListTransfers(
        billing_service_pb2.ListTransfersRequest(parent="tenants/-")
    )

    assert held > 0
    assert (too_much.code, too_much.reason) == ("FAILED_PRECONDITION", "INSUFFICIENT_BALANCE")
    assert elsewhere.fields == ["amount.currency_code"]
    assert all_of_it.balance.posted.nanos == held
    assert listed.transfers[0] == all_of_it.transfer
