/** What was used. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Calls } from "./calls.js";
import {
  type QueryUsageResponse,
  QueryUsageResponseSchema,
  type UsageDimension,
  type UsageExportKind,
  type UsageFilterSchema,
  type UsageRecord,
  UsageService,
} from "./contract/atelier/v1/usage_service_pb.js";
import { type DownloadedFile, readFileParts } from "./files.js";
import { entriesOfPages } from "./pages.js";

const GROUPS_PER_PAGE = 1000;

/** Which usage; all conditions hold together. */
export type UsageFilterInit = MessageInitShape<typeof UsageFilterSchema>;

/** The calls of UsageService. */
export class UsageCalls extends Calls {
  /** Yield one record for each image that reached its end, newest first. */
  listUsageRecords(
    filter: UsageFilterInit = {},
    { pageSize = 0 } = {},
  ): AsyncGenerator<UsageRecord, void, undefined> {
    const { parent } = this;
    const { listUsageRecords } = this.connection.service(UsageService);
    const fetch = (pageToken: string) =>
      this.connection.call(listUsageRecords, { parent, pageSize, pageToken, filter });
    return entriesOfPages(fetch, (page) => page.usageRecords);
  }

  /** Sum usage up; all groups in one answer, with the total. */
  async queryUsage(
    groupBy: UsageDimension[] = [],
    filter: UsageFilterInit = {},
    { labelKey = "" } = {},
  ): Promise<QueryUsageResponse> {
    const { queryUsage } = this.connection.service(UsageService);
    const answer = create(QueryUsageResponseSchema);
    let pageToken = "";
    do {
      const page: QueryUsageResponse = await this.connection.call(queryUsage, {
        parent: this.parent,
        filter,
        groupBy,
        labelKey,
        pageSize: GROUPS_PER_PAGE,
        pageToken,
      });
      answer.groups.push(...page.groups);
      if (page.total) {
        answer.total = page.total;
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return answer;
  }

  /** Fetch the records as a file. */
  exportUsage(kind: UsageExportKind, filter: UsageFilterInit = {}): Promise<DownloadedFile> {
    const { exportUsage } = this.connection.service(UsageService);
    return readFileParts(
      this.connection.stream(exportUsage, { parent: this.parent, filter, kind }),
    );
  }
}
