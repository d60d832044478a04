/** Which states are an end. */

import { type Image, ImageState } from "./contract/atelier/v1/image_pb.js";
import { type Job, JobState } from "./contract/atelier/v1/job_service_pb.js";

const FINISHED_JOB_STATES: ReadonlySet<JobState> = new Set([
  JobState.SUCCEEDED,
  JobState.PARTIALLY_SUCCEEDED,
  JobState.CANCELLED,
  JobState.FAILED,
]);
const FINISHED_IMAGE_STATES: ReadonlySet<ImageState> = new Set([
  ImageState.SUCCEEDED,
  ImageState.FAILED,
  ImageState.BLOCKED,
  ImageState.CANCELLED,
]);

/** Tell whether a job's state is terminal. */
export function jobIsFinished(job: Job): boolean {
  return FINISHED_JOB_STATES.has(job.state);
}

/** Tell whether nothing more happens by itself: finished, or only a person can go on. */
export function jobNeedsNobody(job: Job): boolean {
  return jobIsFinished(job) || job.state === JobState.AWAITING_REVIEW;
}

/** Tell whether an image's state is terminal. */
export function imageIsFinished(image: Image): boolean {
  return FINISHED_IMAGE_STATES.has(image.state);
}

/** Tell whether there is a picture to download. */
export function imageCame(image: Image): boolean {
  return image.state === ImageState.SUCCEEDED;
}
