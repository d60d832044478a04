/** What the operator earns: its own costs and its margin. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Calls, newRequestId } from "./calls.js";
import {
  BillingService,
  type QueryMarginResponse,
  QueryMarginResponseSchema,
} from "./contract/atelier/v1/billing_service_pb.js";
import type {
  CostVersion,
  CostVersionSchema,
  MarginDimension,
} from "./contract/atelier/v1/cost_pb.js";
import { tenantName } from "./names.js";
import { entriesOfPages } from "./pages.js";

const GROUPS_PER_PAGE = 1000;

/** The calls of BillingService about what only the operator knows. */
export class MarginCalls extends Calls {
  /** Operator: make a new version of the cost book. */
  createCostVersion(
    costVersion: MessageInitShape<typeof CostVersionSchema>,
    requestId?: string,
  ): Promise<CostVersion> {
    const { createCostVersion } = this.connection.service(BillingService);
    return this.connection.call(createCostVersion, {
      costVersion,
      requestId: newRequestId(requestId),
    });
  }

  /** Operator: yield the versions of the cost book, newest first. */
  listCosts(): AsyncGenerator<CostVersion, void, undefined> {
    const { listCosts } = this.connection.service(BillingService);
    const fetch = (pageToken: string) => this.connection.call(listCosts, { pageToken });
    return entriesOfPages(fetch, (page) => page.costVersions);
  }

  /**
   * Operator: revenue, cost and margin of at most 32 days; all groups in one answer.
   *
   * `tenant` and `job` (its whole name) narrow it down; empty means all.
   */
  async queryMargin(
    startTime: Date,
    endTime: Date,
    groupBy: MarginDimension[] = [],
    { tenant = "", job = "" } = {},
  ): Promise<QueryMarginResponse> {
    const { queryMargin } = this.connection.service(BillingService);
    const answer = create(QueryMarginResponseSchema);
    let pageToken = "";
    do {
      const page: QueryMarginResponse = await this.connection.call(queryMargin, {
        tenant: tenant === "" ? "" : tenantName(tenant),
        job,
        startTime: timestampFromDate(startTime),
        endTime: timestampFromDate(endTime),
        groupBy,
        pageSize: GROUPS_PER_PAGE,
        pageToken,
      });
      answer.groups.push(...page.groups);
      answer.totals = page.totals;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return answer;
  }
}
