/** Tenants and their keys. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { Calls, newRequestId } from "./calls.js";
import {
  type ApiKey,
  type ApiKeySchema,
  ApiKeyService,
  type CreateApiKeyResponse,
  type RotateApiKeyResponse,
} from "./contract/atelier/v1/api_key_service_pb.js";
import {
  type Tenant,
  type TenantSchema,
  TenantService,
  type TenantSettingsSchema,
} from "./contract/atelier/v1/tenant_service_pb.js";
import { tenantName } from "./names.js";
import { entriesOfPages } from "./pages.js";

/** The calls of TenantService and ApiKeyService. */
export class TenantCalls extends Calls {
  /** Operator: make a tenant. */
  createTenant(
    tenantId: string,
    tenant: MessageInitShape<typeof TenantSchema>,
    requestId?: string,
  ): Promise<Tenant> {
    return this.connection.call(tenants(this).createTenant, {
      tenantId,
      tenant,
      requestId: newRequestId(requestId),
    });
  }

  /** Get a tenant; without a name the client's own. */
  getTenant(tenant: string = this.tenant): Promise<Tenant> {
    return this.connection.call(tenants(this).getTenant, { name: tenantName(tenant) });
  }

  /** Operator: yield all tenants by name. */
  listTenants(): AsyncGenerator<Tenant, void, undefined> {
    const fetch = (pageToken: string) =>
      this.connection.call(tenants(this).listTenants, { pageToken });
    return entriesOfPages(fetch, (page) => page.tenants);
  }

  /** Operator: change the named fields of a tenant (as in the protos) to the values given. */
  updateTenant(
    tenant: MessageInitShape<typeof TenantSchema>,
    fields: readonly string[],
  ): Promise<Tenant> {
    const updateMask = { paths: [...fields] };
    return this.connection.call(tenants(this).updateTenant, { tenant, updateMask });
  }

  /** Operator: the tenant may read and no longer order. */
  suspendTenant(tenant: string): Promise<Tenant> {
    return this.connection.call(tenants(this).suspendTenant, { name: tenantName(tenant) });
  }

  /** Operator: the tenant may order again. */
  resumeTenant(tenant: string): Promise<Tenant> {
    return this.connection.call(tenants(this).resumeTenant, { name: tenantName(tenant) });
  }

  /** Operator: delete a suspended and settled tenant's rows and pictures. Not to be undone. */
  async deleteTenant(tenant: string, { validateOnly = false } = {}): Promise<void> {
    const name = tenantName(tenant);
    await this.connection.call(tenants(this).deleteTenant, { name, validateOnly });
  }

  /** Change what a tenant's admin may set; the fields are named as in the protos. */
  updateTenantSettings(
    settings: MessageInitShape<typeof TenantSettingsSchema>,
    fields: readonly string[],
  ): Promise<Tenant> {
    return this.connection.call(tenants(this).updateTenantSettings, {
      name: this.parent,
      settings,
      updateMask: { paths: [...fields] },
    });
  }

  /** Make a key. Keep the answer's secret: it is not shown again. */
  createApiKey(
    apiKey: MessageInitShape<typeof ApiKeySchema>,
    requestId?: string,
  ): Promise<CreateApiKeyResponse> {
    return this.connection.call(apiKeys(this).createApiKey, {
      parent: this.parent,
      apiKey,
      requestId: newRequestId(requestId),
    });
  }

  /** Yield keys without their secrets, newest first. */
  listApiKeys(): AsyncGenerator<ApiKey, void, undefined> {
    const { parent } = this;
    const fetch = (pageToken: string) =>
      this.connection.call(apiKeys(this).listApiKeys, { parent, pageToken });
    return entriesOfPages(fetch, (page) => page.apiKeys);
  }

  /** Give a key a new secret; the old one works for the grace time. */
  rotateApiKey(
    apiKey: string,
    { graceSeconds, requestId }: { graceSeconds?: number; requestId?: string } = {},
  ): Promise<RotateApiKeyResponse> {
    return this.connection.call(apiKeys(this).rotateApiKey, {
      name: this.nameOf("apiKeys", apiKey),
      requestId: newRequestId(requestId),
      ...(graceSeconds !== undefined && { grace: durationFromMs(1000 * graceSeconds) }),
    });
  }

  /** End a key, everywhere within a second. */
  revokeApiKey(apiKey: string): Promise<ApiKey> {
    return this.connection.call(apiKeys(this).revokeApiKey, {
      name: this.nameOf("apiKeys", apiKey),
    });
  }
}

function tenants(calls: TenantCalls): Client<typeof TenantService> {
  return calls.connection.service(TenantService);
}

function apiKeys(calls: TenantCalls): Client<typeof ApiKeyService> {
  return calls.connection.service(ApiKeyService);
}
