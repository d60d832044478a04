"""BillingService: wallets, prices, invoices, budgets, proof; each in a file of its own."""

from services.gateway.budget_calls import BudgetCalls
from services.gateway.invoice_calls import InvoiceCalls
from services.gateway.invoice_state_calls import InvoiceStateCalls
from services.gateway.ledger_calls import LedgerCalls
from services.gateway.price_calls import PriceCalls
from services.gateway.wallet_calls import WalletCalls


class BillingService(
    WalletCalls, PriceCalls, InvoiceCalls, InvoiceStateCalls, BudgetCalls, LedgerCalls
):
    """Serves the calls of BillingService."""
