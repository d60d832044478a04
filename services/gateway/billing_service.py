"""BillingService: wallets, prices, invoices; each in a file of its own."""

from services.gateway.invoice_calls import InvoiceCalls
from services.gateway.price_calls import PriceCalls
from services.gateway.wallet_calls import WalletCalls


class BillingService(WalletCalls, PriceCalls, InvoiceCalls):
    """Serves the calls of BillingService."""
