"""Money: wallet, prices, invoices, budgets."""

import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING

from atelier.calls import Calls, new_request_id, timestamp
from atelier.errors import DownloadCorruptError
from atelier.files import DownloadedFile, check_sha256
from atelier.names import top_name
from atelier.pages import entries_of_pages
from atelier.v1.billing_service_pb2 import (
    Balance,
    Budget,
    CreateCreditNoteRequest,
    CreatePriceVersionRequest,
    CreditNote,
    DownloadInvoiceRequest,
    FinalizeInvoiceRequest,
    GetBalanceRequest,
    GetInvoiceRequest,
    GrantCreditRequest,
    GrantCreditResponse,
    Invoice,
    InvoiceFile,
    InvoiceFileKind,
    ListBudgetsRequest,
    ListBudgetsResponse,
    ListInvoicesRequest,
    ListInvoicesResponse,
    ListPricesRequest,
    ListPricesResponse,
    ListTransfersRequest,
    ListTransfersResponse,
    RecordPaymentRequest,
    RefundCreditRequest,
    RefundCreditResponse,
    SetBudgetRequest,
    SimulatePriceRequest,
    SimulatePriceResponse,
    Transfer,
    VerifyLedgerRequest,
    VerifyLedgerResponse,
    VoidInvoiceRequest,
)
from atelier.v1.billing_service_pb2_grpc import BillingServiceStub
from atelier.v1.money_pb2 import Money
from atelier.v1.price_pb2 import PriceVersion

if TYPE_CHECKING:
    from atelier.v1.billing_service_pb2_grpc import BillingServiceAsyncStub

RUNNING_PERIOD = "current"


class BillingCalls(Calls):
    """The calls of BillingService."""

    async def get_balance(self) -> Balance:
        request = GetBalanceRequest(name=f"{self._parent()}/balance")
        return await self._connection.call(self._billing().GetBalance, request)

    def list_transfers(
        self, *, start_time: datetime | None = None, end_time: datetime | None = None
    ) -> AsyncGenerator[Transfer, None]:
        """Yield what moved, newest first."""

        async def fetch(page_token: str) -> ListTransfersResponse:
            request = ListTransfersRequest(
                parent=self._parent(),
                page_token=page_token,
                start_time=timestamp(start_time),
                end_time=timestamp(end_time),
            )
            return await self._connection.call(self._billing().ListTransfers, request)

        return entries_of_pages(fetch, lambda page: page.transfers)

    async def grant_credit(
        self,
        amount: Money,
        *,
        description: str = "",
        expire_time: datetime | None = None,
        priority: int = 0,
        request_id: str | None = None,
    ) -> GrantCreditResponse:
        """Operator: put prepaid credit into the tenant's wallet."""
        request = GrantCreditRequest(
            parent=self._parent(),
            amount=amount,
            expire_time=timestamp(expire_time),
            priority=priority,
            description=description,
            request_id=new_request_id(request_id),
        )
        return await self._connection.call(self._billing().GrantCredit, request)

    async def refund_credit(
        self, amount: Money, *, reference: str, request_id: str | None = None
    ) -> RefundCreditResponse:
        """Operator: take credit that was paid back outside out of the tenant's wallet."""
        request = RefundCreditRequest(
            parent=self._parent(),
            amount=amount,
            reference=reference,
            request_id=new_request_id(request_id),
        )
        return await self._connection.call(self._billing().RefundCredit, request)

    def list_prices(self, *, of_all_books: bool = False) -> AsyncGenerator[PriceVersion, None]:
        """Yield the tenant's price versions, newest first; operators may see all."""
        parent = "" if of_all_books else self._parent()

        async def fetch(page_token: str) -> ListPricesResponse:
            request = ListPricesRequest(parent=parent, page_token=page_token)
            return await self._connection.call(self._billing().ListPrices, request)

        return entries_of_pages(fetch, lambda page: page.price_versions)

    async def create_price_version(
        self, price_version: PriceVersion, *, request_id: str | None = None
    ) -> PriceVersion:
        """Operator: make a new version of a price book."""
        request = CreatePriceVersionRequest(
            price_version=price_version, request_id=new_request_id(request_id)
        )
        return await self._connection.call(self._billing().CreatePriceVersion, request)

    async def simulate_price(
        self, billing_period: str, price: str | PriceVersion
    ) -> SimulatePriceResponse:
        """Operator: price a past period, such as "2026-11", by another price."""
        request = SimulatePriceRequest(parent=self._parent(), billing_period=billing_period)
        if isinstance(price, str):
            request.price_version = top_name("priceVersions", price)
        else:
            request.draft.CopyFrom(price)
        return await self._connection.call(self._billing().SimulatePrice, request)

    def list_invoices(self) -> AsyncGenerator[Invoice, None]:
        """Yield invoices without their lines, newest first, the running period's draft included."""

        async def fetch(page_token: str) -> ListInvoicesResponse:
            request = ListInvoicesRequest(parent=self._parent(), page_token=page_token)
            return await self._connection.call(self._billing().ListInvoices, request)

        return entries_of_pages(fetch, lambda page: page.invoices)

    async def get_invoice(self, invoice: str = RUNNING_PERIOD) -> Invoice:
        """Get an invoice by its period, such as "2026-11"."""
        request = GetInvoiceRequest(name=self._name("invoices", invoice))
        return await self._connection.call(self._billing().GetInvoice, request)

    async def download_invoice(
        self,
        invoice: str = RUNNING_PERIOD,
        *,
        file_kind: "InvoiceFileKind.ValueType" = InvoiceFileKind.INVOICE_FILE_KIND_PDF,
    ) -> DownloadedFile:
        """Fetch an invoice as a file, checked against its hash."""
        request = DownloadInvoiceRequest(name=self._name("invoices", invoice), file_kind=file_kind)
        parts = self._connection.stream(self._billing().DownloadInvoice, request)
        file: InvoiceFile | None = None
        chunks: list[bytes] = []
        async with contextlib.aclosing(parts):
            async for part in parts:
                if part.HasField("file"):
                    file = part.file
                else:
                    chunks.append(part.chunk)
        if file is None:
            raise DownloadCorruptError("the server sent no description of the file")
        data = b"".join(chunks)
        check_sha256(data, file.sha256)
        return DownloadedFile(file_name=file.file_name, content_type=file.content_type, data=data)

    async def finalize_invoice(self, invoice: str, *, request_id: str | None = None) -> Invoice:
        """Operator: give a finished period's draft its number."""
        request = FinalizeInvoiceRequest(
            name=self._name("invoices", invoice), request_id=new_request_id(request_id)
        )
        return await self._connection.call(self._billing().FinalizeInvoice, request)

    async def record_payment(
        self,
        invoice: str,
        amount: Money,
        *,
        payment_time: datetime | None = None,
        reference: str = "",
        request_id: str | None = None,
    ) -> Invoice:
        """Operator: an invoice was paid."""
        request = RecordPaymentRequest(
            name=self._name("invoices", invoice),
            amount=amount,
            payment_time=timestamp(payment_time),
            reference=reference,
            request_id=new_request_id(request_id),
        )
        return await self._connection.call(self._billing().RecordPayment, request)

    async def void_invoice(
        self, invoice: str, *, reason: str, request_id: str | None = None
    ) -> Invoice:
        """Operator: an invoice is void."""
        request = VoidInvoiceRequest(
            name=self._name("invoices", invoice),
            reason=reason,
            request_id=new_request_id(request_id),
        )
        return await self._connection.call(self._billing().VoidInvoice, request)

    async def create_credit_note(
        self, invoice: str, amount: Money, *, reason: str, request_id: str | None = None
    ) -> CreditNote:
        """Operator: correct a finalized invoice."""
        request = CreateCreditNoteRequest(
            parent=self._name("invoices", invoice),
            amount=amount,
            reason=reason,
            request_id=new_request_id(request_id),
        )
        return await self._connection.call(self._billing().CreateCreditNote, request)

    async def set_budget(self, budget: Budget) -> Budget:
        """Make or change a budget; it is replaced as a whole."""
        request = SetBudgetRequest(budget=budget)
        return await self._connection.call(self._billing().SetBudget, request)

    def list_budgets(self) -> AsyncGenerator[Budget, None]:
        """Yield budgets and what is used of them."""

        async def fetch(page_token: str) -> ListBudgetsResponse:
            request = ListBudgetsRequest(parent=self._parent(), page_token=page_token)
            return await self._connection.call(self._billing().ListBudgets, request)

        return entries_of_pages(fetch, lambda page: page.budgets)

    async def verify_ledger(self) -> VerifyLedgerResponse:
        """Have every balance and the hash chain derived anew."""
        request = VerifyLedgerRequest(parent=self._parent())
        return await self._connection.call(self._billing().VerifyLedger, request)

    def _billing(self) -> "BillingServiceAsyncStub":
        return BillingServiceStub(self._connection.channel)
