"""BillingService: wallets, prices, margins, invoices, budgets, proof; each in a file of its own."""

from services.gateway.budget_calls import BudgetCalls
from services.gateway.invoice_calls import InvoiceCalls
from services.gateway.invoice_state_calls import InvoiceStateCalls
from services.gateway.ledger_calls import LedgerCalls
from services.gateway.margin_calls import MarginCalls
from services.gateway.price_calls import PriceCalls
from services.gateway.wallet_calls import WalletCalls


class BillingService(
    WalletCalls,
    PriceCalls,
    MarginCalls,
    InvoiceCalls,
    InvoiceStateCalls,
    BudgetCalls,
    LedgerCalls,
):
    """Serves the calls of BillingService."""
