"""What was used and what it costs: sums by model, and the running month's invoice as PDF.

`python examples/books.py FOLDER`; invoices need an admin's key.
"""

import sys
from pathlib import Path

import atelier
from atelier.money import format_money
from atelier.v1.usage_service_pb2 import UsageDimension

folder = Path(*sys.argv[1:2])
with atelier.Client() as client:
    usage = client.query_usage([UsageDimension.USAGE_DIMENSION_MODEL])
    for group in usage.groups:
        joules = group.energy_millijoules / 1000
        price = format_money(group.price)
        print(f"{group.group_values[0]}: {group.succeeded_count} pictures, {joules:.1f} J, {price}")
    print(f"available: {format_money(client.get_balance().available)}")
    print(client.download_invoice().save(folder))
