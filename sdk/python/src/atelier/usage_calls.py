"""What was used."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from atelier.calls import Calls
from atelier.errors import DownloadCorruptError
from atelier.files import DownloadedFile
from atelier.pages import entries_of_pages
from atelier.v1.usage_service_pb2 import (
    ExportFile,
    ExportUsageRequest,
    ListUsageRecordsRequest,
    ListUsageRecordsResponse,
    QueryUsageRequest,
    QueryUsageResponse,
    UsageDimension,
    UsageExportKind,
    UsageFilter,
    UsageRecord,
)
from atelier.v1.usage_service_pb2_grpc import UsageServiceStub

if TYPE_CHECKING:
    from atelier.v1.usage_service_pb2_grpc import UsageServiceAsyncStub

_GROUPS_PER_PAGE = 1000


class UsageCalls(Calls):
    """The calls of UsageService."""

    def list_usage_records(
        self, usage_filter: UsageFilter | None = None, *, page_size: int = 0
    ) -> AsyncGenerator[UsageRecord, None]:
        """Yield one record for each image that reached its end, newest first."""

        async def fetch(page_token: str) -> ListUsageRecordsResponse:
            request = ListUsageRecordsRequest(
                parent=self._parent(),
                page_size=page_size,
                page_token=page_token,
                filter=usage_filter,
            )
            return await self._connection.call(self._usage().ListUsageRecords, request)

        return entries_of_pages(fetch, lambda page: page.usage_records)

    async def query_usage(
        self,
        group_by: "Sequence[UsageDimension.ValueType]" = (),
        *,
        label_key: str = "",
        usage_filter: UsageFilter | None = None,
    ) -> QueryUsageResponse:
        """Sum usage up; all groups in one answer, with the total."""
        request = QueryUsageRequest(
            parent=self._parent(),
            filter=usage_filter,
            group_by=group_by,
            label_key=label_key,
            page_size=_GROUPS_PER_PAGE,
        )
        answer = QueryUsageResponse()
        while True:
            page = await self._connection.call(self._usage().QueryUsage, request)
            answer.groups.extend(page.groups)
            answer.total.CopyFrom(page.total)
            if not page.next_page_token:
                return answer
            request.page_token = page.next_page_token

    async def export_usage(
        self, kind: "UsageExportKind.ValueType", *, usage_filter: UsageFilter | None = None
    ) -> DownloadedFile:
        """Fetch the records as a file."""
        request = ExportUsageRequest(parent=self._parent(), filter=usage_filter, kind=kind)
        parts = self._connection.stream(self._usage().ExportUsage, request)
        file: ExportFile | None = None
        chunks: list[bytes] = []
        async with contextlib.aclosing(parts):
            async for part in parts:
                if part.HasField("file"):
                    file = part.file
                else:
                    chunks.append(part.chunk)
        if file is None:
            raise DownloadCorruptError("the server sent no description of the file")
        return DownloadedFile(
            file_name=file.file_name, content_type=file.content_type, data=b"".join(chunks)
        )

    def _usage(self) -> "UsageServiceAsyncStub":
        return UsageServiceStub(self._connection.channel)
