/**
 * When a failed call is made again, and after how long. Pure.
 *
 * Only two kinds of failure are worth it: nobody answers (UNAVAILABLE), and a limit whose server
 * says when to come back (RESOURCE_EXHAUSTED with RetryInfo). Everything that changes something
 * carries a request id or names a state to reach, so a call whose answer got lost is answered the
 * same again.
 */

import type { CallError } from "./errors.js";

/** How patient a client is. */
export interface RetryPolicy {
  /** Calls in all, the first one included. */
  readonly attemptsMax: number;
  readonly firstDelaySeconds: number;
  /** One step of back-off waits at most so long; a server's own hint may be longer. */
  readonly delaySecondsMax: number;
  /** A hint beyond this is not waited for: the error is the caller's to handle. */
  readonly hintSecondsMax: number;
}

/** What a client does unless it is told otherwise. */
export const DEFAULT_RETRIES: RetryPolicy = {
  attemptsMax: 8,
  firstDelaySeconds: 0.2,
  delaySecondsMax: 10,
  hintSecondsMax: 60,
};

/** Every failure is the caller's to handle. */
export const NO_RETRIES: RetryPolicy = { ...DEFAULT_RETRIES, attemptsMax: 1 };

/** Tell how long to wait before the next attempt; undefined means to give up. */
export function delaySeconds(
  policy: RetryPolicy,
  error: CallError,
  failedAttempts: number,
): number | undefined {
  const { code, retryDelaySeconds: hint } = error.status;
  const worthIt = code === "UNAVAILABLE" || (code === "RESOURCE_EXHAUSTED" && hint !== undefined);
  if (!worthIt || failedAttempts >= policy.attemptsMax) {
    return undefined;
  }
  if (hint !== undefined && hint > policy.hintSecondsMax) {
    return undefined;
  }
  const backoff = Math.min(
    policy.firstDelaySeconds * 2 ** (failedAttempts - 1),
    policy.delaySecondsMax,
  );
  // Half of it is drawn, so that clients that failed together do not come back together.
  return Math.max(backoff * (0.5 + 0.5 * Math.random()), hint ?? 0);
}
