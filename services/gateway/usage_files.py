"""Usage as a file that is made while it is sent, portion by portion."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from atelier.v1 import usage_service_pb2
from database.pool import Pool, tenant_transaction
from metering.focus import FOCUS_COLUMNS, FocusAccount, usage_rows
from metering.table_files import CsvWriter, ParquetWriter, Row, TableWriter
from metering.usage_export import USAGE_COLUMNS, usage_row
from metering.usage_records import Receipt, UsageRecord, get_receipts
from metering.usage_reports import UsageFilter, list_usage
from tenants.ids import ImageId, TenantId

_RECORDS_PER_PORTION: Final = 1_000
_CHUNK_BYTES: Final = 256 * 1024
_Kind = usage_service_pb2.UsageExportKind
_ENDINGS: Final = {
    _Kind.USAGE_EXPORT_KIND_CSV: ("usage", "csv", "text/csv"),
    _Kind.USAGE_EXPORT_KIND_PARQUET: ("usage", "parquet", "application/vnd.apache.parquet"),
    _Kind.USAGE_EXPORT_KIND_FOCUS: ("focus-1.2", "csv", "text/csv"),
}


class UsageFile:
    """One file of one tenant.

    Each portion is read in a transaction of its own: a client that reads slowly holds no
    connection. Nothing that is charged after ``now`` is in it.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        tenant_id: TenantId,
        kind: "_Kind.ValueType",
        chosen: UsageFilter,
        account: FocusAccount,
        now: datetime,
    ) -> None:
        self._pool = pool
        self._tenant_id = tenant_id
        self._kind = kind
        end_time = now if chosen.end_time is None else min(now, chosen.end_time)
        self._chosen = replace(chosen, end_time=end_time)
        self._account = account

    def description(self) -> usage_service_pb2.ExportFile:
        """Name the file and its type."""
        what, ending, content_type = _ENDINGS[self._kind]
        return usage_service_pb2.ExportFile(
            file_name=f"{self._tenant_id}-{what}.{ending}", content_type=content_type
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give its bytes in order, at most 256 KiB at a time."""
        writer = self._writer()
        async for receipts in self._portions():
            data = await asyncio.to_thread(writer.write, self._rows(receipts))
            for offset in range(0, len(data), _CHUNK_BYTES):
                yield data[offset : offset + _CHUNK_BYTES]
        rest = writer.finish()
        for offset in range(0, len(rest), _CHUNK_BYTES):
            yield rest[offset : offset + _CHUNK_BYTES]

    def _writer(self) -> TableWriter:
        if self._kind == _Kind.USAGE_EXPORT_KIND_PARQUET:
            return ParquetWriter(USAGE_COLUMNS)
        is_focus = self._kind == _Kind.USAGE_EXPORT_KIND_FOCUS
        return CsvWriter(FOCUS_COLUMNS if is_focus else USAGE_COLUMNS)

    def _rows(self, receipts: list[Receipt]) -> list[Row]:
        if self._kind == _Kind.USAGE_EXPORT_KIND_FOCUS:
            return [row for receipt in receipts for row in usage_rows(receipt, self._account)]
        return [usage_row(receipt.usage) for receipt in receipts]

    async def _portions(self) -> AsyncIterator[list[Receipt]]:
        before: tuple[datetime, ImageId] | None = None
        while True:
            async with tenant_transaction(self._pool, self._tenant_id) as conn:
                records = await list_usage(
                    conn,
                    tenant_id=self._tenant_id,
                    chosen=self._chosen,
                    limit=_RECORDS_PER_PORTION,
                    before=before,
                )
                receipts = await get_receipts(
                    conn,
                    tenant_id=self._tenant_id,
                    image_ids=[record.image_id for record in records],
                )
            yield [receipts[record.image_id] for record in records]
            if len(records) < _RECORDS_PER_PORTION:
                return
            before = _position(records[-1])


def _position(record: UsageRecord) -> tuple[datetime, ImageId]:
    return record.charge_time, record.image_id
