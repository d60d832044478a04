/** Whom an identity provider vouches for, and what that opens. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { Calls, newRequestId } from "./calls.js";
import {
  type IdentityBinding,
  type IdentityBindingSchema,
  IdentityService,
} from "./contract/atelier/v1/identity_service_pb.js";
import { entriesOfPages } from "./pages.js";

/** The calls of IdentityService. */
export class IdentityCalls extends Calls {
  /** Operator: bind what an issuer says of somebody to the client's `tenant`. */
  createIdentityBinding(
    identityBinding: MessageInitShape<typeof IdentityBindingSchema>,
    requestId?: string,
  ): Promise<IdentityBinding> {
    return this.connection.call(identities(this).createIdentityBinding, {
      parent: this.parent,
      identityBinding,
      requestId: newRequestId(requestId),
    });
  }

  /** Yield what is bound to the tenant, newest first. */
  listIdentityBindings(): AsyncGenerator<IdentityBinding, void, undefined> {
    const { parent } = this;
    const fetch = (pageToken: string) =>
      this.connection.call(identities(this).listIdentityBindings, { parent, pageToken });
    return entriesOfPages(fetch, (page) => page.identityBindings);
  }

  /** End a binding, everywhere within a second; answers with what it was. */
  deleteIdentityBinding(identityBinding: string): Promise<IdentityBinding> {
    return this.connection.call(identities(this).deleteIdentityBinding, {
      name: this.nameOf("identityBindings", identityBinding),
    });
  }
}

function identities(calls: IdentityCalls): Client<typeof IdentityService> {
  return calls.connection.service(IdentityService);
}
