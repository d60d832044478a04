/** The installation itself: its version and clock, and how its parts do. */

import { Calls } from "./calls.js";
import {
  type Finding,
  type Installation,
  InstallationService,
} from "./contract/atelier/v1/installation_service_pb.js";

/** The calls of InstallationService. */
export class InstallationCalls extends Calls {
  /** Ask for the server's version and clock, and whose key this is. */
  getInstallation(): Promise<Installation> {
    const { getInstallation } = this.connection.service(InstallationService);
    return this.connection.call(getInstallation, {});
  }

  /** Operator: yield how each part of the installation does, as it is found. */
  async *verifyInstallation(): AsyncGenerator<Finding, void, undefined> {
    const { verifyInstallation } = this.connection.service(InstallationService);
    for await (const { finding } of this.connection.stream(verifyInstallation, {})) {
      if (finding) {
        yield finding;
      }
    }
  }
}
