/** From what Connect throws to this library's errors. */

import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "./contract/google/rpc/error_details_pb.js";
import { type CallError, type ErrorStatus, errorFromStatus, type Violation } from "./errors.js";

/** Read the rich status of a failed call, where it has one. */
export function errorFromRpc(thrown: unknown): CallError {
  const error = ConnectError.from(thrown);
  return errorFromStatus(readStatus(error), { cause: error });
}

/** Word what gRPC does not count as an error, so that it is retried like one. */
export function streamBroken(message: string): CallError {
  return errorFromStatus({
    code: "UNAVAILABLE",
    reason: "",
    message,
    metadata: {},
    violations: [],
  });
}

function readStatus(error: ConnectError): ErrorStatus {
  const [info] = error.findDetails(ErrorInfoSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  const delay = retry?.retryDelay;
  return {
    code: codeName(error.code),
    reason: info?.reason ?? "",
    message: error.rawMessage,
    metadata: info?.metadata ?? {},
    violations: violationsOf(error),
    ...(delay && { retryDelaySeconds: Number(delay.seconds) + delay.nanos / 1e9 }),
  };
}

function violationsOf(error: ConnectError): Violation[] {
  const fields = error
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations)
    .map(({ field, description, reason }) => ({ subject: field, description, rule: reason }));
  const quotas = error
    .findDetails(QuotaFailureSchema)
    .flatMap((detail) => detail.violations)
    .map(({ subject, description }) => ({ subject, description, rule: "" }));
  const preconditions = error
    .findDetails(PreconditionFailureSchema)
    .flatMap((detail) => detail.violations)
    .map(({ type, subject, description }) => ({ subject, description, rule: type }));
  return [...fields, ...quotas, ...preconditions];
}

/** Connect names codes like `NotFound`; gRPC, and Python's SDK, like `NOT_FOUND`. */
function codeName(code: Code): string {
  if (code === Code.Canceled) {
    return "CANCELLED";
  }
  return (Code[code] ?? "UNKNOWN").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
