/**
 * Order pictures from an Atelier installation.
 *
 * The messages are those of the contract; the ones needed most stand here, all of them under
 * `atelier/contract/<file>`, such as `atelier/contract/job_service`.
 */

export { Client, type ClientOptions, JobHandle } from "./client.js";
export { ImageState, OutputFormat, Tier } from "./contract/atelier/v1/image_pb.js";
export { JobState } from "./contract/atelier/v1/job_service_pb.js";
export * from "./errors.js";
export { DownloadedFile } from "./files.js";
export type {
  ImageSpecInit,
  JobOptions,
  JobSpecInit,
  SpecLike,
  WatchOptions,
} from "./job-calls.js";
export { imageCame, imageIsFinished, jobIsFinished, jobNeedsNobody } from "./job-states.js";
export { formatMoney, money } from "./money.js";
export { ImagesFailedError, type Picture } from "./pictures.js";
export { DEFAULT_RETRIES, NO_RETRIES, type RetryPolicy } from "./retries.js";
