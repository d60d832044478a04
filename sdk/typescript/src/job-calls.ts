/** Jobs: ordered, watched, fetched. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { Calls, newRequestId } from "./calls.js";
import { resumed } from "./connection.js";
import {
  type Image,
  type ImageSpecSchema,
  type PictureFile,
  Tier,
} from "./contract/atelier/v1/image_pb.js";
import {
  type DownloadImageResponse,
  type ImageFilterSchema,
  type Job,
  type JobFilterSchema,
  JobService,
  type JobSpecSchema,
  type ListImagesResponse,
  type ListJobsResponse,
  type WatchJobResponse,
} from "./contract/atelier/v1/job_service_pb.js";
import type { Money } from "./contract/atelier/v1/money_pb.js";
import { imageCame, imageIsFinished, jobIsFinished, jobNeedsNobody } from "./job-states.js";
import { entriesOfPages } from "./pages.js";
import { ImagesFailedError, type Picture, saveChunks, VerifiedDownload } from "./pictures.js";
import { streamBroken } from "./statuses.js";

/** What decides one picture. */
export type ImageSpecInit = MessageInitShape<typeof ImageSpecSchema>;
/** What to draw, and how often. */
export type JobSpecInit = MessageInitShape<typeof JobSpecSchema>;
/** A job's entry: a prompt alone, what decides one picture, or that with a count. */
export type SpecLike = string | ImageSpecInit | JobSpecInit;

/** What a job can say besides its specs. */
export interface JobOptions {
  readonly displayName?: string;
  readonly tier?: Tier;
  readonly project?: string;
  readonly labels?: Record<string, string>;
  /** The job is refused if its ceiling is above this. */
  readonly maxCost?: Money;
  /** `tenants/{tenant}/webhookEndpoints/{endpoint}`. */
  readonly webhook?: string;
  /** What is not finished by then fails and is not charged. */
  readonly deadlineTime?: Date;
  /** Give your own to be able to send the same wish again later; else each call is a new wish. */
  readonly requestId?: string;
}

/** How a job is followed. */
export interface WatchOptions {
  /** Send small previews with the progress. */
  readonly previews?: boolean;
  /** The `resumeToken` of the last news, to go on from there. */
  readonly resumeToken?: string;
}

/** The calls of JobService. */
export class JobCalls extends Calls {
  /** Order pictures. The answer's `hold` is the most the job can cost. */
  orderJob(specs: Iterable<SpecLike>, options: JobOptions = {}): Promise<Job> {
    return sendJob(this, specs, options, false);
  }

  /** Ask what would happen: ceiling, blocked prompts, expected finish. Nothing is stored. */
  quoteJob(specs: Iterable<SpecLike>, options: JobOptions = {}): Promise<Job> {
    return sendJob(this, specs, options, true);
  }

  getJob(job: string): Promise<Job> {
    return this.connection.call(jobs(this).getJob, { name: this.nameOf("jobs", job) });
  }

  /** Yield jobs, newest first. */
  listJobs(
    filter: MessageInitShape<typeof JobFilterSchema> = {},
    { pageSize = 0 } = {},
  ): AsyncGenerator<Job, void, undefined> {
    const fetch = (pageToken: string) => this.jobsPage(filter, { pageSize, pageToken });
    return entriesOfPages(fetch, (page) => page.jobs);
  }

  /** Return one page of jobs, newest first, for whoever leafs through them. */
  jobsPage(
    filter: MessageInitShape<typeof JobFilterSchema> = {},
    { pageSize = 0, pageToken = "" } = {},
  ): Promise<ListJobsResponse> {
    const { parent } = this;
    return this.connection.call(jobs(this).listJobs, { parent, pageSize, pageToken, filter });
  }

  /** Cancel what is not finished; what is being drawn stops one step later. */
  cancelJob(job: string): Promise<Job> {
    return this.connection.call(jobs(this).cancelJob, { name: this.nameOf("jobs", job) });
  }

  /** Order what failed in a finished job once more, as a new job. */
  retryFailedImages(job: string, requestId?: string): Promise<Job> {
    return this.connection.call(jobs(this).retryFailedImages, {
      name: this.nameOf("jobs", job),
      requestId: newRequestId(requestId),
    });
  }

  /**
   * Yield a job's news until it is finished, over as many connections as it takes.
   *
   * Signs of life are left out. To go on later, keep the `resumeToken` of the last news.
   */
  async *watchJob(
    job: string,
    { previews = false, resumeToken = "" }: WatchOptions = {},
  ): AsyncGenerator<WatchJobResponse, void, undefined> {
    const name = this.nameOf("jobs", job);
    const { watchJob } = jobs(this);
    const { connection } = this;
    let newestToken = resumeToken;
    let finished = false;

    async function* stream(): AsyncGenerator<WatchJobResponse, void, undefined> {
      yield* connection.stream(watchJob, { name, previews, resumeToken: newestToken });
      if (!finished) {
        throw streamBroken("the server ended the stream before the job ended");
      }
    }

    for await (const news of resumed(stream, connection.retryPolicy)) {
      newestToken = news.resumeToken || newestToken;
      finished ||= news.news.case === "job" && jobIsFinished(news.news.value);
      if (news.news.case !== "keepAlive") {
        yield news;
      }
    }
  }

  /**
   * Yield each image of a job once, as it finishes; end when nothing more happens by itself.
   *
   * Quarantined images are not among them: they wait for a person.
   */
  async *finishedImages(job: string): AsyncGenerator<Image, void, undefined> {
    const told = new Set<string>();
    for await (const { news } of this.watchJob(job)) {
      if (news.case === "job" && jobNeedsNobody(news.value)) {
        break;
      }
      if (news.case === "image" && imageIsFinished(news.value) && !told.has(news.value.name)) {
        told.add(news.value.name);
        yield news.value;
      }
    }
    // What had ended before the stream began, such as a blocked prompt, may have made no news.
    for await (const image of this.listImages(job)) {
      if (imageIsFinished(image) && !told.has(image.name)) {
        yield image;
      }
    }
  }

  /** Wait until nothing more happens by itself: finished, or waiting for a review. */
  async waitForJob(job: string): Promise<Job> {
    for await (const { news } of this.watchJob(job)) {
      if (news.case === "job" && jobNeedsNobody(news.value)) {
        return news.value;
      }
    }
    return this.getJob(job);
  }

  /** Yield the images of a job in the order they were asked for. */
  listImages(
    job: string,
    filter: MessageInitShape<typeof ImageFilterSchema> = {},
    { pageSize = 0 } = {},
  ): AsyncGenerator<Image, void, undefined> {
    const fetch = (pageToken: string) => this.imagesPage(job, filter, { pageSize, pageToken });
    return entriesOfPages(fetch, (page) => page.images);
  }

  /** Return one page of a job's images, for whoever leafs through them. */
  imagesPage(
    job: string,
    filter: MessageInitShape<typeof ImageFilterSchema> = {},
    { pageSize = 0, pageToken = "" } = {},
  ): Promise<ListImagesResponse> {
    const parent = this.nameOf("jobs", job);
    return this.connection.call(jobs(this).listImages, { parent, pageSize, pageToken, filter });
  }

  /** Get one image by its name, or by its id and its job's. */
  getImage(image: string, job = ""): Promise<Image> {
    return this.connection.call(jobs(this).getImage, { name: imageName(this, image, job) });
  }

  /** Fetch a picture's bytes, checked against their hash. */
  async downloadImage(image: string, job = ""): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    const download = new VerifiedDownload();
    for await (const chunk of pictureChunks(this, imageName(this, image, job), download)) {
      chunks.push(chunk);
    }
    download.finish();
    return Buffer.concat(chunks);
  }

  /** Fetch a picture into a file, checked against its hash; the file is whole or absent. */
  async saveImage(image: string, path: string, job = ""): Promise<PictureFile> {
    const download = new VerifiedDownload();
    let file: PictureFile | undefined;
    async function* verified(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      yield* chunks;
      file = download.finish();
    }
    await saveChunks(verified(pictureChunks(this, imageName(this, image, job), download)), path);
    return file as PictureFile;
  }

  /**
   * Draw pictures now and return them; interactive unless `tier` says otherwise.
   *
   * @throws {@link ImagesFailedError} some did not come; it holds those that did.
   */
  async generate(
    prompt: string | ImageSpecInit,
    { count = 1, ...options }: JobOptions & { readonly count?: number } = {},
  ): Promise<Picture[]> {
    const image = typeof prompt === "string" ? { prompt } : prompt;
    const job = await this.orderJob([{ image, count }], { tier: Tier.INTERACTIVE, ...options });
    const pictures: Picture[] = [];
    const failedImages: Image[] = [];
    for await (const finished of this.finishedImages(job.name)) {
      if (imageCame(finished)) {
        pictures.push({ image: finished, data: await this.downloadImage(finished.name) });
      } else {
        failedImages.push(finished);
      }
    }
    pictures.sort((one, other) => one.image.imageNumber - other.image.imageNumber);
    if (pictures.length < job.imageCount) {
      throw new ImagesFailedError(pictures, failedImages);
    }
    return pictures;
  }
}

/** Write a job's entry as the contract has it. */
export function jobSpec(spec: SpecLike): JobSpecInit {
  if (typeof spec === "string") {
    return { image: { prompt: spec }, count: 1 };
  }
  return "image" in spec ? spec : { image: spec as ImageSpecInit, count: 1 };
}

function jobs(calls: JobCalls): Client<typeof JobService> {
  return calls.connection.service(JobService);
}

function sendJob(
  calls: JobCalls,
  specs: Iterable<SpecLike>,
  { requestId, deadlineTime, ...job }: JobOptions,
  validateOnly: boolean,
): Promise<Job> {
  return calls.connection.call(jobs(calls).createJob, {
    parent: calls.parent,
    requestId: newRequestId(requestId),
    validateOnly,
    job: {
      ...job,
      specs: Array.from(specs, jobSpec),
      ...(deadlineTime && { deadlineTime: timestampFromDate(deadlineTime) }),
    },
  });
}

async function* pictureChunks(
  calls: JobCalls,
  name: string,
  download: VerifiedDownload,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { connection } = calls;
  const stream = (): AsyncGenerator<DownloadImageResponse> =>
    connection.stream(jobs(calls).downloadImage, {
      name,
      readOffset: BigInt(download.byteCount),
    });
  for await (const { part } of resumed(stream, connection.retryPolicy)) {
    if (part.case === "file") {
      download.takeFile(part.value);
    } else if (part.case === "chunk") {
      download.takeChunk(part.value);
      yield part.value;
    }
  }
}

function imageName(calls: JobCalls, image: string, job: string): string {
  if (image.includes("/")) {
    return image;
  }
  if (job === "") {
    throw new TypeError("an image's id needs its job's; or give the image's whole name");
  }
  return `${calls.nameOf("jobs", job)}/images/${image}`;
}
