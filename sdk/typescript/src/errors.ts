/**
 * What can go wrong, as one tree: `AtelierError` above all, one class for each `ErrorReason`.
 *
 * Catch as narrowly as you can act: `InsufficientBalanceError` to top up, `ExhaustedError` to wait,
 * `CallError` for whatever a server refused. Classes for whole status codes stand between.
 */

/** Everything this library throws by itself. */
export class AtelierError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Address or key are missing, or cannot be used together. */
export class ConfigurationError extends AtelierError {}

/** The bytes that came are not those the server announced. */
export class DownloadCorruptError extends AtelierError {}

/** A field of the request, or a quota, that a call would break. */
export interface Violation {
  /** Path in the request, such as `job.specs[3].image.width`, or whose quota it is. */
  readonly subject: string;
  readonly description: string;
  /** The rule's name, such as `string.max_len`; empty for quotas. */
  readonly rule: string;
}

/** What a server said when it refused. */
export interface ErrorStatus {
  /** Name of the gRPC status code, such as `NOT_FOUND`. */
  readonly code: string;
  /** Name of the `ErrorReason` without its prefix; empty when the answer was not the gateway's own. */
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
  /** The server's own word on when to try again; undefined when it gave none. */
  readonly retryDelaySeconds?: number;
}

/** A server refused a call, or could not be reached. */
export class CallError extends AtelierError {
  readonly status: ErrorStatus;

  constructor(status: ErrorStatus, options?: ErrorOptions) {
    super(`${status.reason || status.code}: ${status.message}`, options);
    this.status = status;
  }

  get reason(): string {
    return this.status.reason;
  }

  get violations(): readonly Violation[] {
    return this.status.violations;
  }
}

// INVALID_ARGUMENT

/** The request itself is wrong; sending it again will not help. */
export class InvalidRequestError extends CallError {}
/** Fields break a rule; `violations` names each. */
export class FieldViolationError extends InvalidRequestError {}
/** The request id was used for another request. */
export class RequestIdReusedError extends InvalidRequestError {}
/** The page or resume token belongs to another query. */
export class PageTokenMismatchError extends InvalidRequestError {}
/** The installation does not support something that was asked for. */
export class UnsupportedParameterError extends InvalidRequestError {}

// Who is calling

/** The key does not open. */
export class NotAuthenticatedError extends CallError {}
/** There is no such key. */
export class KeyInvalidError extends NotAuthenticatedError {}
/** The key's time is over. */
export class KeyExpiredError extends NotAuthenticatedError {}
/** The key was revoked. */
export class KeyRevokedError extends NotAuthenticatedError {}
/** The key opens, and not this. */
export class NotAllowedError extends CallError {}
/** The call needs another role. */
export class RoleRequiredError extends NotAllowedError {}
/** The tenant may not use the model. */
export class ModelNotAllowedError extends NotAllowedError {}
/** The key may not be used from here. */
export class AddressNotAllowedError extends NotAllowedError {}

/** The tenant may read and not order. */
export class TenantSuspendedError extends NotAllowedError {}

// What is there

/** There is no such thing, or it is another tenant's. */
export class NotFoundError extends CallError {}
/** There is no resource of that name, or it is another tenant's. */
export class ResourceNotFoundError extends NotFoundError {}
/** A resource of that name exists already. */
export class ResourceExistsError extends CallError {}
/** Something must change before the same call can succeed. */
export class PreconditionError extends CallError {}
/** The wallet does not cover the ceiling. */
export class InsufficientBalanceError extends PreconditionError {}
/** The ceiling is above the request's own bound. */
export class MaxCostExceededError extends PreconditionError {}
/** The resource is not in a state that allows this. */
export class InvalidStateTransitionError extends PreconditionError {}
/** Publishing is paused by a quality alarm. */
export class PublishingPausedError extends PreconditionError {}
/** The ledger must be looked at before anything is invoiced. */
export class InvoicingStoppedError extends PreconditionError {}

// Not now

/** A limit is reached. */
export class ExhaustedError extends CallError {}
/** Too many calls in a short time. */
export class RateLimitedError extends ExhaustedError {}
/** As many images are queued as the quota allows. */
export class QueueFullError extends ExhaustedError {}
/** A hard budget does not cover the ceiling. */
export class BudgetExceededError extends ExhaustedError {}
/** Nobody answers, or not now. */
export class UnavailableError extends CallError {}
/** The server is being stopped. */
export class DrainingError extends UnavailableError {}
/** The server's database does not answer. */
export class DatabaseDownError extends UnavailableError {}
/** A part of the installation does not answer. */
export class BackendDownError extends UnavailableError {}
/** No answer in time; what was asked for may have happened. */
export class DeadlineExceededError extends CallError {}
/** The server does not have this call yet. */
export class CallNotImplementedError extends CallError {}
/** The server failed in a way it should not. */
export class ServerDefectError extends CallError {}

type CallErrorClass = new (status: ErrorStatus, options?: ErrorOptions) => CallError;

/** The class of each reason; a newer server's unknown reason gets the class of its status code. */
export const ERRORS_BY_REASON: Readonly<Record<string, CallErrorClass>> = {
  FIELD_VIOLATION: FieldViolationError,
  REQUEST_ID_REUSED: RequestIdReusedError,
  PAGE_TOKEN_MISMATCH: PageTokenMismatchError,
  UNSUPPORTED_PARAMETER: UnsupportedParameterError,
  KEY_INVALID: KeyInvalidError,
  KEY_EXPIRED: KeyExpiredError,
  KEY_REVOKED: KeyRevokedError,
  ROLE_REQUIRED: RoleRequiredError,
  MODEL_NOT_ALLOWED: ModelNotAllowedError,
  TENANT_SUSPENDED: TenantSuspendedError,
  ADDRESS_NOT_ALLOWED: AddressNotAllowedError,
  RESOURCE_NOT_FOUND: ResourceNotFoundError,
  RESOURCE_EXISTS: ResourceExistsError,
  INSUFFICIENT_BALANCE: InsufficientBalanceError,
  MAX_COST_EXCEEDED: MaxCostExceededError,
  INVALID_STATE_TRANSITION: InvalidStateTransitionError,
  PUBLISHING_PAUSED: PublishingPausedError,
  RATE_LIMITED: RateLimitedError,
  QUEUE_FULL: QueueFullError,
  BUDGET_EXCEEDED: BudgetExceededError,
  DRAINING: DrainingError,
  DATABASE_DOWN: DatabaseDownError,
  BACKEND_DOWN: BackendDownError,
  NOT_IMPLEMENTED: CallNotImplementedError,
  DEADLINE_EXCEEDED: DeadlineExceededError,
  SERVER_DEFECT: ServerDefectError,
  INVOICING_STOPPED: InvoicingStoppedError,
};

/** For answers without a reason: a proxy's, gRPC's own, or those of a newer server. */
const ERRORS_BY_CODE: Readonly<Record<string, CallErrorClass>> = {
  INVALID_ARGUMENT: InvalidRequestError,
  UNAUTHENTICATED: NotAuthenticatedError,
  PERMISSION_DENIED: NotAllowedError,
  NOT_FOUND: NotFoundError,
  ALREADY_EXISTS: ResourceExistsError,
  FAILED_PRECONDITION: PreconditionError,
  RESOURCE_EXHAUSTED: ExhaustedError,
  UNAVAILABLE: UnavailableError,
  DEADLINE_EXCEEDED: DeadlineExceededError,
  UNIMPLEMENTED: CallNotImplementedError,
};

/** Choose the class that says most about a refusal. */
export function errorFromStatus(status: ErrorStatus, options?: ErrorOptions): CallError {
  const byCode = ERRORS_BY_CODE[status.code] ?? CallError;
  return new (ERRORS_BY_REASON[status.reason] ?? byCode)(status, options);
}
