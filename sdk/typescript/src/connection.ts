/** One HTTP/2 session with an installation, and the two ways to use it: a call, a stream. */

import { setTimeout as sleep } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import {
  type CallOptions,
  type Client,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { CallError } from "./errors.js";
import { delaySeconds, type RetryPolicy } from "./retries.js";
import { baseUrl, type Login } from "./settings.js";
import { errorFromRpc, streamBroken } from "./statuses.js";

const CALL_SECONDS_MAX = 30;
/** Servers send something at least every 15 seconds; three times that is silence. */
const SILENCE_SECONDS_MAX = 45;
/** A page of 1,000 images with prompts of 10,000 characters is larger than the usual 4 MiB. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

/** How a connection is made. */
export interface ConnectionOptions {
  readonly retryPolicy: RetryPolicy;
  /** PEM; what Node trusts unless given. */
  readonly rootCertificates?: string | Buffer | undefined;
}

type Unary<Request, Answer> = (request: Request, options?: CallOptions) => Promise<Answer>;
type Streaming<Request, Answer> = (
  request: Request,
  options?: CallOptions,
) => AsyncIterable<Answer>;

/** A session with the key that goes with each call. */
export class Connection {
  readonly retryPolicy: RetryPolicy;
  readonly #sessions: Http2SessionManager;
  readonly #transport: Transport;

  constructor(login: Login, options: ConnectionOptions) {
    const url = baseUrl(login.address);
    const { rootCertificates: ca } = options;
    this.retryPolicy = options.retryPolicy;
    this.#sessions = new Http2SessionManager(url, undefined, ca === undefined ? {} : { ca });
    this.#transport = createGrpcTransport({
      baseUrl: url,
      sessionManager: this.#sessions,
      interceptors: [withKey(login.apiKey)],
      readMaxBytes: MESSAGE_BYTES_MAX,
      writeMaxBytes: MESSAGE_BYTES_MAX,
    });
  }

  /** The calls of one service of the contract, as they are: without retries. */
  service<Service extends DescService>(service: Service): Client<Service> {
    return createClient(service, this.#transport);
  }

  /**
   * Make a call, again where that is safe and may help.
   *
   * @throws {@link CallError} refused, or nobody answered in spite of patience.
   */
  async call<Request, Answer>(method: Unary<Request, Answer>, request: Request): Promise<Answer> {
    for (let failedAttempts = 1; ; failedAttempts++) {
      try {
        return await method(request, { timeoutMs: CALL_SECONDS_MAX * 1000 });
      } catch (thrown) {
        const error = errorFromRpc(thrown);
        await waitOrThrow(this.retryPolicy, error, failedAttempts);
      }
    }
  }

  /**
   * Read a stream once, without retries; leaving it cancels it.
   *
   * @throws {@link CallError} refused or broken; `UnavailableError` when it fell silent.
   */
  async *stream<Request, Answer>(
    method: Streaming<Request, Answer>,
    request: Request,
  ): AsyncGenerator<Answer, void, undefined> {
    const left = new AbortController();
    let silent = false;
    const fallSilent = (): void => {
      silent = true;
      left.abort();
    };
    try {
      const options = { signal: left.signal, timeoutMs: 0 };
      const answers = method(request, options)[Symbol.asyncIterator]();
      for (;;) {
        // Only waiting counts: the time a caller takes is not the server's silence.
        const silence = setTimeout(fallSilent, SILENCE_SECONDS_MAX * 1000);
        const next = await answers.next().finally(() => clearTimeout(silence));
        if (next.done) {
          return;
        }
        yield next.value;
      }
    } catch (thrown) {
      throw silent ? streamBroken("the stream fell silent") : errorFromRpc(thrown);
    } finally {
      left.abort();
    }
  }

  /** End the session; what is still under way fails. */
  close(): void {
    this.#sessions.abort();
  }
}

/**
 * Read a stream to its proper end, over as many connections as it takes.
 *
 * `open` knows where to go on; patience starts afresh with each answer.
 */
export async function* resumed<Answer>(
  open: () => AsyncIterable<Answer>,
  retryPolicy: RetryPolicy,
): AsyncGenerator<Answer, void, undefined> {
  let failedAttempts = 0;
  for (;;) {
    try {
      for await (const answer of open()) {
        failedAttempts = 0;
        yield answer;
      }
      return;
    } catch (error) {
      failedAttempts++;
      await waitOrThrow(retryPolicy, error, failedAttempts);
    }
  }
}

async function waitOrThrow(
  policy: RetryPolicy,
  error: unknown,
  failedAttempts: number,
): Promise<void> {
  const delay =
    error instanceof CallError ? delaySeconds(policy, error, failedAttempts) : undefined;
  if (delay === undefined) {
    throw error;
  }
  await sleep(delay * 1000);
}

function withKey(apiKey: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
}
