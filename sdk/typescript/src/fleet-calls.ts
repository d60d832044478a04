/** The GPUs of the installation; for operators. */

import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { Calls } from "./calls.js";
import { resumed } from "./connection.js";
import {
  type EnergyReconciliation,
  FleetService,
  type Gpu,
  type ListWorkersResponse,
  type PowerPolicy,
  type WatchGpusResponse,
} from "./contract/atelier/v1/fleet_service_pb.js";
import { ALL, topName } from "./names.js";
import { entriesOfPages } from "./pages.js";

/** More than an installation has, so that one answer tells of all. */
const WORKERS_PER_PAGE = 1000;

/** How hot and how busy a GPU may be for long. */
export interface PowerLimits {
  readonly temperatureCelsiusMax: number;
  readonly dutyCycleMax: number;
}

/** The calls of FleetService. */
export class FleetCalls extends Calls {
  /** Operator: yield where the joules of each GPU and UTC hour went, by GPU, oldest first. */
  getEnergyReconciliation(
    gpu: string = ALL,
    { startTime, endTime }: { startTime?: Date; endTime?: Date } = {},
  ): AsyncGenerator<EnergyReconciliation, void, undefined> {
    const request = {
      parent: topName("gpus", gpu),
      ...(startTime && { startTime: timestampFromDate(startTime) }),
      ...(endTime && { endTime: timestampFromDate(endTime) }),
    };
    const fetch = (pageToken: string) =>
      this.connection.call(fleet(this).getEnergyReconciliation, { ...request, pageToken });
    return entriesOfPages(fetch, (page) => page.energyReconciliations);
  }

  /** Operator: yield every GPU that was ever seen, with what its sensors said last. */
  listGpus(): AsyncGenerator<Gpu, void, undefined> {
    const fetch = (pageToken: string) => this.connection.call(fleet(this).listGpus, { pageToken });
    return entriesOfPages(fetch, (page) => page.gpus);
  }

  /** Operator: yield how a GPU, or all of them, do, once a second; leave it when you like. */
  watchGpus(gpu: string = ALL): AsyncGenerator<WatchGpusResponse, void, undefined> {
    const request = { parent: topName("gpus", gpu) };
    const stream = () => this.connection.stream(fleet(this).watchGpus, request);
    return resumed(stream, this.connection.retryPolicy);
  }

  /** Operator: return a page of workers; its `warning` says when nothing keeps them apart. */
  listWorkers(pageToken = ""): Promise<ListWorkersResponse> {
    return this.connection.call(fleet(this).listWorkers, {
      pageSize: WORKERS_PER_PAGE,
      pageToken,
    });
  }

  /** Operator: a GPU's worker finishes and ends; nobody gets the GPU for the time given. */
  drainWorker(gpu: string, { keepEmptySeconds = 0 } = {}): Promise<Gpu> {
    return this.connection.call(fleet(this).drainWorker, {
      name: `${topName("gpus", gpu)}/worker`,
      keepEmpty: durationFromMs(1000 * keepEmptySeconds),
    });
  }

  /** Operator: say how hot a GPU may get and how busy it may be for long; `-` means all. */
  setPowerPolicy(gpu: string, limits: PowerLimits): Promise<PowerPolicy> {
    const powerPolicy = { name: `${topName("gpus", gpu)}/powerPolicy`, ...limits };
    return this.connection.call(fleet(this).setPowerPolicy, { powerPolicy });
  }
}

function fleet(calls: FleetCalls): Client<typeof FleetService> {
  return calls.connection.service(FleetService);
}
