"""Every metric of Atelier, with its unit and its meaning; docs/metrics.md is made of this.

Labels have few values: what a `tenant` label costs, and why it stands where it stands, is
decision 0033. No label ever holds what a customer wrote.
"""

from typing import Final

from services.metrics.metric import Kind, Metric


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, meaning=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, meaning=meaning, labels=labels)


# ---- every process -------------------------------------------------------------------------------
BUILD: Final = _gauge("atelier_build_info", "1; the labels say what runs", "process", "version")
SOURCE_FAILURES: Final = _counter(
    "atelier_metrics_source_failures_total",
    "scrapes that left something out because it could not be read; a defect",
    "source",
)

# ---- who speaks to PostgreSQL: gateway, recorder, fleet, housekeeper; pools: all but the fleet --
DATABASE_UP: Final = _gauge(
    "atelier_database_up",
    "1 while PostgreSQL answers this process; 0: no answer, and what is read there is left out",
)
POOL_CONNECTIONS: Final = _gauge(
    "atelier_database_pool_connections", "connections there are", "pool"
)
POOL_CONNECTIONS_MAX: Final = _gauge(
    "atelier_database_pool_connections_max", "connections there may be", "pool"
)
POOL_CONNECTIONS_IDLE: Final = _gauge(
    "atelier_database_pool_connections_idle", "connections that are lent to nobody", "pool"
)
POOL_WAITING: Final = _gauge(
    "atelier_database_pool_waiting", "callers that wait for a connection now", "pool"
)
POOL_WAITS: Final = _counter(
    "atelier_database_pool_waits_total", "callers that had to wait for a connection", "pool"
)
POOL_WAIT_SECONDS: Final = _counter(
    "atelier_database_pool_wait_seconds_total", "how long they waited, together", "pool"
)
POOL_REFUSALS: Final = _counter(
    "atelier_database_pool_refusals_total", "callers that waited in vain", "pool"
)
CONNECTION_FAILURES: Final = _counter(
    "atelier_database_connection_failures_total", "connections that could not be opened", "pool"
)

# ---- gateway -------------------------------------------------------------------------------------
CALLS: Final = _counter(
    "atelier_gateway_calls_total", "calls that ended, by gRPC status code", "method", "code"
)
CALL_SECONDS: Final = Metric(
    name="atelier_gateway_call_seconds",
    kind=Kind.HISTOGRAM,
    meaning="how long calls with one answer took whose caller was known; streams are left out",
    labels=("method",),
)
CALL_REFUSALS: Final = _counter(
    "atelier_gateway_refusals_total",
    "calls that were refused, by ErrorReason; KEY_… are rejected keys",
    "reason",
)
CALLS_IN_FLIGHT: Final = _gauge(
    "atelier_gateway_calls_in_flight", "calls that are being answered: unary, stream", "kind"
)
CALLS_IN_FLIGHT_MAX: Final = _gauge(
    "atelier_gateway_calls_in_flight_max", "how many may be; above it all are refused", "kind"
)
TOKENS_LEFT: Final = _counter(
    "atelier_gateway_tokens_left_total",
    "tokens that no broker took and the housekeeper publishes later",
)
AUDIT_EVENTS_LOST: Final = _counter(
    "atelier_gateway_audit_events_lost_total",
    "events of calls that changed nothing and could not be written down",
)

# ---- recorder ------------------------------------------------------------------------------------
ATTEMPTS_ENDED: Final = _counter(
    "atelier_recorder_attempts_ended_total",
    "attempts that workers ended, by the state the image has since; QUEUED: handed back",
    "state",
)
PICTURES: Final = _counter(
    "atelier_recorder_pictures_total",
    "pictures that were charged, by where their energy comes from; PARTIAL: it came too late",
    "energy_source",
)
REFUSALS: Final = _counter(
    "atelier_recorder_refusals_total",
    "what workers sent and was not taken, by reason; EMPTY_CLAIM is no fault",
    "reason",
)
SPOOL_PICTURES: Final = _gauge(
    "atelier_recorder_spool_pictures", "pictures that are not in the object store yet"
)
SPOOL_BYTES: Final = _gauge("atelier_recorder_spool_bytes", "how large they are together")
SPOOL_FREE_BYTES: Final = _gauge("atelier_recorder_spool_free_bytes", "room on the spool's disk")
SPOOL_OLDEST: Final = _gauge(
    "atelier_recorder_spool_oldest_timestamp_seconds",
    "when the oldest of them was written; absent while there is none",
)
SPOOL_FAILURES: Final = _counter(
    "atelier_recorder_spool_failures_total", "pictures that the spool's disk did not take"
)
UPLOADS: Final = _counter("atelier_recorder_uploads_total", "pictures that the object store took")
UPLOAD_FAILURES: Final = _counter(
    "atelier_recorder_upload_failures_total", "rounds that the object store or PostgreSQL ended"
)
PICTURES_MISSING: Final = _counter(
    "atelier_recorder_pictures_missing_total",
    "looks that found an accepted picture neither in the spool nor in the store",
)

# ---- meter ---------------------------------------------------------------------------------------
GPU_TEMPERATURE: Final = _gauge(
    "atelier_meter_gpu_temperature_celsius", "of the card; absent: no sensor, or no answer", "gpu"
)
GPU_POWER: Final = _gauge(
    "atelier_meter_gpu_power_watts", "as the sensor says, not the bill", "gpu"
)
GPU_BUSY: Final = _gauge(
    "atelier_meter_gpu_busy_ratio", "share of the driver's last period with a kernel", "gpu"
)
GPU_MEMORY: Final = _gauge("atelier_meter_gpu_memory_bytes", "of the card", "gpu")
GPU_MEMORY_USED: Final = _gauge("atelier_meter_gpu_memory_used_bytes", "of it in use", "gpu")
GPU_THROTTLED: Final = _gauge(
    "atelier_meter_gpu_throttled", "1 for each reason for which it is slow now", "gpu", "reason"
)
ENERGY: Final = _counter(
    "atelier_meter_energy_joules_total",
    "the energy counter, by where it comes from",
    "gpu",
    "source",
)
LAST_READING: Final = _gauge(
    "atelier_meter_last_reading_timestamp_seconds", "when the counter was last read", "gpu"
)
COUNTER_UP: Final = _gauge(
    "atelier_meter_counter_up", "1 while the counter of a metered device can be read", "gpu"
)
SEGMENTS: Final = _counter(
    "atelier_meter_segments_total",
    "stretches of a device's time that were closed; UNKNOWN: nobody read the counter",
    "gpu",
    "kind",
)
SEGMENT_SECONDS: Final = _counter(
    "atelier_meter_segment_seconds_total", "how long they were; WORK: images", "gpu", "kind"
)
SEGMENTS_PENDING: Final = _gauge(
    "atelier_meter_segments_pending", "segments that the recorder has not taken yet", "gpu"
)
SEGMENTS_ABANDONED: Final = _counter(
    "atelier_meter_segments_abandoned_total",
    "segments that the recorder will never take; their time becomes UNKNOWN",
    "gpu",
)

# ---- fleet ---------------------------------------------------------------------------------------
IMAGES: Final = _gauge(
    "atelier_fleet_images", "images that are open: QUEUED, RUNNING", "tenant", "state"
)
BACKLOG: Final = _gauge(
    "atelier_fleet_backlog_gpu_seconds", "what a GPU will need for them, estimated", "tenant"
)
OLDEST_QUEUED: Final = _gauge(
    "atelier_fleet_oldest_queued_timestamp_seconds",
    "when the image was ordered that waits longest; absent while none waits",
    "tenant",
)
SESSIONS: Final = _gauge(
    "atelier_fleet_worker_sessions", "workers that attend: ready, preparing, silent", "state"
)
ACTIVE: Final = _gauge(
    "atelier_fleet_active", "1: this fleet gives out the GPUs; absent where it assigns nothing"
)
LAST_TURN: Final = _gauge(
    "atelier_fleet_last_turn_timestamp_seconds", "when the active fleet last ended a turn"
)
METER_UP: Final = _gauge("atelier_fleet_meter_up", "1 while the meter answers the active fleet")
GPUS: Final = _gauge("atelier_fleet_gpus", "devices that the active fleet knows", "kind")
WORKERS: Final = _gauge(
    "atelier_fleet_workers", "workers of the active fleet, by WorkerState", "state"
)
WORKER_DEATHS: Final = _counter(
    "atelier_fleet_worker_deaths_total",
    "workers that ended unasked and were, or will be, started again",
    "gpu",
)
BROKER_DEATHS: Final = _counter(
    "atelier_fleet_broker_deaths_total", "tenants' brokers that ended unasked"
)
TENANTS_WAITING: Final = _gauge(
    "atelier_fleet_tenants_waiting", "tenants with work and no device to do it on"
)
TENANTS_RESTRAINED: Final = _gauge(
    "atelier_fleet_tenants_restrained", "tenants that burnt too much by creating and cancelling"
)
PACE: Final = _gauge(
    "atelier_fleet_gpu_pace_ratio", "share of time that a device may be busy", "gpu"
)

# ---- housekeeper ---------------------------------------------------------------------------------
DUTY_ROUNDS: Final = _counter(
    "atelier_housekeeper_duty_rounds_total",
    "rounds of a duty: done, failed, no_database, elsewhere (another housekeeper does it)",
    "duty",
    "result",
)
DUTY_LAST_SUCCESS: Final = _gauge(
    "atelier_housekeeper_duty_last_success_timestamp_seconds",
    "when a duty was last done here; absent before the first time",
    "duty",
)
DUTY_PERIOD: Final = _gauge(
    "atelier_housekeeper_duty_period_seconds", "how often it is to be done", "duty"
)
VIOLATIONS: Final = _gauge(
    "atelier_housekeeper_invariant_violations",
    "what the last look found; look: all (nightly), changed (each minute)",
    "invariant",
    "look",
)
ATTEMPTS_LOST: Final = _counter(
    "atelier_housekeeper_attempts_lost_total",
    "attempts whose worker was gone, by the state the image has since",
    "state",
)
SESSIONS_LOST: Final = _counter(
    "atelier_housekeeper_sessions_lost_total", "workers that stopped attending without a word"
)
IMAGES_EXPIRED: Final = _counter(
    "atelier_housekeeper_images_expired_total", "images whose deadline passed"
)
TOKENS_REPLACED: Final = _counter(
    "atelier_housekeeper_tokens_replaced_total", "tokens that were missing and published again"
)

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
