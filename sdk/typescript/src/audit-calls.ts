/** Who did what, and when; for a tenant's admins and the operator. */

import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Calls } from "./calls.js";
import { type AuditEvent, AuditService } from "./contract/atelier/v1/audit_service_pb.js";
import { entriesOfPages } from "./pages.js";

/** Which events; all conditions hold together. */
export interface AuditFilter {
  /** A call as `JobService/CreateJob`. */
  readonly method?: string;
  readonly apiKey?: string;
  readonly resourceName?: string;
  readonly refusedOnly?: boolean;
  readonly startTime?: Date;
  readonly endTime?: Date;
}

/** The calls of AuditService. */
export class AuditCalls extends Calls {
  /** Yield what changed the tenant or was refused, newest first; for an operator, all tenants. */
  listAuditEvents({
    apiKey = "",
    startTime,
    endTime,
    ...filter
  }: AuditFilter = {}): AsyncGenerator<AuditEvent, void, undefined> {
    const { listAuditEvents } = this.connection.service(AuditService);
    const request = {
      ...filter,
      parent: this.parent,
      apiKey: apiKey === "" ? "" : this.nameOf("apiKeys", apiKey),
      ...(startTime && { startTime: timestampFromDate(startTime) }),
      ...(endTime && { endTime: timestampFromDate(endTime) }),
    };
    const fetch = (pageToken: string) =>
      this.connection.call(listAuditEvents, { ...request, pageToken });
    return entriesOfPages(fetch, (page) => page.auditEvents);
  }
}
