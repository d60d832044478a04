/** A server in this process that speaks the contract over a socket, as scripted by a test. */

import { createHash } from "node:crypto";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ImageState } from "../src/contract/atelier/v1/image_pb.js";
import {
  JobService,
  JobState,
  type WatchJobResponseSchema,
} from "../src/contract/atelier/v1/job_service_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../src/contract/google/rpc/error_details_pb.js";

export const PICTURE = Buffer.alloc(200_000, "a picture ");
export const JOB = "tenants/acme/jobs/j1";
const FILE = {
  contentType: "image/png",
  byteCount: BigInt(PICTURE.length),
  sha256: createHash("sha256").update(PICTURE).digest("hex"),
};

/** An answer that is not OK. */
export function refusal(code: Code, reason: string, retrySeconds?: number): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "atelier" } };
  const retryDelay = durationFromMs(1000 * (retrySeconds ?? 0));
  const retry = { desc: RetryInfoSchema, value: { retryDelay } };
  return new ConnectError("scripted", code, undefined, [
    info,
    ...(retrySeconds === undefined ? [] : [retry]),
  ]);
}

type WatchNews = MessageInitShape<typeof WatchJobResponseSchema>;

/** Answers what was scripted and keeps what was asked. */
export class SmallServer {
  readonly requestIds: string[] = [];
  readonly resumeTokens: string[] = [];
  readonly readOffsets: bigint[] = [];
  readonly authorizations: (string | null)[] = [];
  /** Refusals that come before the first proper answer. */
  readonly refusals: ConnectError[] = [];
  /** Each stream of WatchJob gives one of these, then breaks, but the last one ends properly. */
  readonly watchParts: WatchNews[][] = [];
  picture = PICTURE;
  /** Bytes after which a download breaks, once. */
  breakDownloadAfter: number | undefined;
  pages = [["j1", "j2"], ["j3"]];
  readonly #server = createServer(
    connectNodeAdapter({ routes: (router) => router.service(JobService, this.#service()) }),
  );

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
  }

  #service(): Partial<ServiceImpl<typeof JobService>> {
    return {
      createJob: (request, context) => {
        this.#take(context);
        this.requestIds.push(request.requestId);
        const imageCount = request.job?.specs.length ?? 0;
        if (this.refusals[0]) {
          throw this.refusals.shift();
        }
        return { name: JOB, imageCount };
      },
      listJobs: ({ pageToken }) => {
        const page = Number(pageToken);
        const nextPageToken = page + 1 < this.pages.length ? String(page + 1) : "";
        return { jobs: (this.pages[page] ?? []).map((name) => ({ name })), nextPageToken };
      },
      listImages: () => ({
        images: [{ name: `${JOB}/images/i1`, imageNumber: 1, state: ImageState.SUCCEEDED }],
      }),
      watchJob: this.#watch.bind(this),
      downloadImage: this.#download.bind(this),
    };
  }

  async *#watch({ resumeToken }: { resumeToken: string }): AsyncGenerator<WatchNews> {
    this.resumeTokens.push(resumeToken);
    yield* this.watchParts.shift() ?? [];
    if (this.watchParts.length > 0) {
      throw new ConnectError("broken", Code.Unavailable);
    }
  }

  async *#download({ readOffset }: { readOffset: bigint }) {
    this.readOffsets.push(readOffset);
    yield { part: { case: "file" as const, value: FILE } };
    const rest = this.picture.subarray(Number(readOffset));
    const end = this.breakDownloadAfter ?? rest.length;
    yield { part: { case: "chunk" as const, value: rest.subarray(0, end) } };
    if (this.breakDownloadAfter !== undefined) {
      this.breakDownloadAfter = undefined;
      throw new ConnectError("broken", Code.Unavailable);
    }
  }

  #take(context: HandlerContext): void {
    this.authorizations.push(context.requestHeader.get("authorization"));
  }
}

/** News of a job in a state. */
export function jobNews(resumeToken: string, state: JobState): WatchNews {
  return { resumeToken, news: { case: "job", value: { name: JOB, state } } };
}

/** News of an image that ended. */
export function imageNews(resumeToken: string, image: string): WatchNews {
  const name = `${JOB}/images/${image}`;
  return { resumeToken, news: { case: "image", value: { name, state: ImageState.SUCCEEDED } } };
}

export { JobState };
