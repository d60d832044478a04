"""What it cost: energy from counter to image, prices, the ledger, invoices, reports."""
