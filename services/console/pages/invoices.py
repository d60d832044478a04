"""Invoices: the running month's draft and those that have a number."""

import re
from typing import Final

from starlette.responses import Response

from atelier.v1.billing_service_pb2 import InvoiceFileKind, InvoiceLineKind
from services.console.errors import PageNotFoundError
from services.console.pages.usage import file_response
from services.console.visit import Visit

_KINDS: Final = {
    "pdf": InvoiceFileKind.INVOICE_FILE_KIND_PDF,
    "csv": InvoiceFileKind.INVOICE_FILE_KIND_CSV,
    "parquet": InvoiceFileKind.INVOICE_FILE_KIND_PARQUET,
    "focus": InvoiceFileKind.INVOICE_FILE_KIND_FOCUS,
}


async def invoices(visit: Visit) -> Response:
    found = [one async for one in visit.client.list_invoices()]
    return visit.page("invoices.html", invoices=found)


async def invoice(visit: Visit) -> Response:
    found = await visit.client.get_invoice(_period(visit))
    usage = InvoiceLineKind.INVOICE_LINE_KIND_USAGE
    return visit.page("invoice.html", invoice=found, usage_kind=usage)


async def invoice_file(visit: Visit) -> Response:
    kind = _KINDS.get(visit.parameter("kind"))
    if kind is None:
        raise PageNotFoundError
    return file_response(await visit.client.download_invoice(_period(visit), file_kind=kind))


def _period(visit: Visit) -> str:
    period = visit.parameter("period")
    if re.fullmatch(r"current|\d{4}-(0[1-9]|1[0-2])", period) is None:
        raise PageNotFoundError
    return period
