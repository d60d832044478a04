/** The client: an installation, seen by one key. */

import type { DescService } from "@bufbuild/protobuf";
import type { Client as ServiceClient } from "@connectrpc/connect";
import { AuditCalls } from "./audit-calls.js";
import { BillingCalls } from "./billing-calls.js";
import { Calls } from "./calls.js";
import { Connection } from "./connection.js";
import type { Image } from "./contract/atelier/v1/image_pb.js";
import type { Job, WatchJobResponse } from "./contract/atelier/v1/job_service_pb.js";
import { FleetCalls } from "./fleet-calls.js";
import { IdentityCalls } from "./identity-calls.js";
import { ImageCalls } from "./image-calls.js";
import { InstallationCalls } from "./installation-calls.js";
import { JobCalls, type JobOptions, type SpecLike, type WatchOptions } from "./job-calls.js";
import { MarginCalls } from "./margin-calls.js";
import { OWN_TENANT } from "./names.js";
import { DEFAULT_RETRIES, type RetryPolicy } from "./retries.js";
import { type GivenLogin, resolveLogin } from "./settings.js";
import { TenantCalls } from "./tenant-calls.js";
import { UsageCalls } from "./usage-calls.js";

/** How a client is made. What is left out of address and key comes from the environment. */
export interface ClientOptions extends GivenLogin {
  /** Operators act for this tenant. */
  readonly tenant?: string;
  readonly retryPolicy?: Partial<RetryPolicy>;
  /** PEM of who signs the server's certificate; what Node trusts unless given. */
  readonly rootCertificates?: string | Buffer;
}

/**
 * An installation, seen by one key.
 *
 * Address and key come from the options, `ATELIER_ADDRESS` and `ATELIER_API_KEY`, or the file
 * `atelier login` wrote. Things are named by their ids or their whole resource names.
 */
export class Client extends Calls {
  constructor(options: ClientOptions = {}) {
    const retryPolicy = { ...DEFAULT_RETRIES, ...options.retryPolicy };
    const { rootCertificates } = options;
    const connection = new Connection(resolveLogin(options), { retryPolicy, rootCertificates });
    super(connection, options.tenant ?? OWN_TENANT);
  }

  /** Order pictures and hold on to the job: `for await (const image of job.images())`. */
  async createJob(specs: Iterable<SpecLike>, options: JobOptions = {}): Promise<JobHandle> {
    return new JobHandle(this, await this.orderJob(specs, options));
  }

  /** The calls of one service of the contract as they are, without retries: for what has no verb. */
  service<Service extends DescService>(service: Service): ServiceClient<Service> {
    return this.connection.service(service);
  }

  /** End the session; what is still under way fails. */
  close(): void {
    this.connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Every group of calls is a part of the client. */
export interface Client
  extends JobCalls,
    ImageCalls,
    UsageCalls,
    BillingCalls,
    MarginCalls,
    TenantCalls,
    IdentityCalls,
    FleetCalls,
    AuditCalls,
    InstallationCalls {}

for (const group of [
  JobCalls,
  ImageCalls,
  UsageCalls,
  BillingCalls,
  MarginCalls,
  TenantCalls,
  IdentityCalls,
  FleetCalls,
  AuditCalls,
  InstallationCalls,
]) {
  const { constructor: _, ...verbs } = Object.getOwnPropertyDescriptors(group.prototype);
  Object.defineProperties(Client.prototype, verbs);
}

/** A job that was ordered; `resource` is the newest that is known of it. */
export class JobHandle {
  resource: Job;
  readonly #client: JobCalls;

  constructor(client: JobCalls, resource: Job) {
    this.#client = client;
    this.resource = resource;
  }

  get name(): string {
    return this.resource.name;
  }

  async refresh(): Promise<Job> {
    this.resource = await this.#client.getJob(this.name);
    return this.resource;
  }

  /** Yield the job's news until it is finished. */
  async *watch(options: WatchOptions = {}): AsyncGenerator<WatchJobResponse, void, undefined> {
    for await (const news of this.#client.watchJob(this.name, options)) {
      if (news.news.case === "job") {
        this.resource = news.news.value;
      }
      yield news;
    }
  }

  /** Yield each image once, as it finishes. */
  images(): AsyncGenerator<Image, void, undefined> {
    return this.#client.finishedImages(this.name);
  }

  /** Wait until nothing more happens by itself. */
  async wait(): Promise<Job> {
    this.resource = await this.#client.waitForJob(this.name);
    return this.resource;
  }

  async cancel(): Promise<Job> {
    this.resource = await this.#client.cancelJob(this.name);
    return this.resource;
  }
}
