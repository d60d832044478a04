/** What every group of calls stands on. */

import { randomUUID } from "node:crypto";
import type { Connection } from "./connection.js";
import { childName, tenantName } from "./names.js";

/** A connection, and the tenant that names without one mean. */
export class Calls {
  /** @internal */
  readonly connection: Connection;
  /** The tenant that is acted for; `-` is the key's own. */
  readonly tenant: string;

  constructor(connection: Connection, tenant: string) {
    this.connection = connection;
    this.tenant = tenant;
  }

  /** @internal */
  get parent(): string {
    return tenantName(this.tenant);
  }

  /** @internal */
  nameOf(collection: string, nameOrId: string): string {
    return childName(collection, nameOrId, this.tenant);
  }
}

/** Return the given request id, or a fresh one: each wish has one, however often it is sent. */
export function newRequestId(given?: string): string {
  return given ?? randomUUID();
}
