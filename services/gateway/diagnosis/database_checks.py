"""What the database tells of itself and of the processes that use it. The operator's pool."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from database.migration_runner import known_migrations
from database.pool import Connection
from database.queries import load_queries
from database.rows import typed_row
from services.gateway.diagnosis.finding import Finding, failed, healthy, unknown, warning

_QUERIES: Final = load_queries(__file__)
_CLOCK_SECONDS_MAX: Final = 2.0
_WAITING_SECONDS_MAX: Final = 120.0
# Segments go out at every refresh of a counter, within a second or so: this long is silence.
_READING_SECONDS_MAX: Final = 180.0
# Each keeps at least one connection for as long as it lives.
_PROCESSES: Final = {
    "recorder": "atelier_recorder",
    "fleet": "atelier_fleet",
    "housekeeper": "atelier_housekeeper",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    server_version: str
    now: datetime
    unsealed_seconds: float
    spooled_seconds: float
    spooled_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    gpu_id: str
    display_name: str
    kind: str
    has_worker: bool
    source: str | None
    reading_age_seconds: float | None
    throttle_reasons: list[str]


async def look_at_database(conn: Connection, *, now: datetime) -> AsyncGenerator[Finding]:
    """Look at the server, its schema, its clock and who is connected."""
    async with conn.cursor(row_factory=typed_row(_Server)) as cursor:
        await cursor.execute(_QUERIES["look_at_server"])
        server = await cursor.fetchone()
    assert server is not None
    yield healthy("database", f"PostgreSQL {server.server_version} answers")
    yield await _schema(conn)
    yield _clock(abs((server.now - now).total_seconds()))
    async for finding in _processes(conn):
        yield finding
    yield _ledger(server.unsealed_seconds)
    yield _spool(server)
    async for finding in _devices(conn):
        yield finding


async def active_tenants(conn: Connection) -> list[str]:
    """Name the tenants that should have a broker."""
    rows = await (await conn.execute(_QUERIES["active_tenants"])).fetchall()
    return [str(row[0]) for row in rows]


async def _schema(conn: Connection) -> Finding:
    applied = dict(await (await conn.execute(_QUERIES["applied_migrations"])).fetchall())
    known = {migration.number: migration.sha256 for migration in known_migrations()}
    if applied == known:
        return healthy("schema", f"migration {max(known):04d} of {max(known):04d} is applied")
    if newer := applied.keys() - known.keys():
        return failed(
            "schema",
            f"the database has migration {max(newer):04d}, this gateway ends at {max(known):04d}",
            "This gateway is older than the database: install the newer version everywhere.",
        )
    if missing := known.keys() - applied.keys():
        return failed(
            "schema",
            f"migration {min(missing):04d} is not applied",
            "Run atelier-migrate with the administrator's URL.",
        )
    return failed(
        "schema",
        "an applied migration is not the one of this version",
        "Somebody changed a migration after it was applied: install the version that made it.",
    )


def _clock(skew_seconds: float) -> Finding:
    if skew_seconds <= _CLOCK_SECONDS_MAX:
        return healthy("server clock", f"gateway and database differ by {skew_seconds:.1f} s")
    return failed(
        "server clock",
        f"gateway and database differ by {skew_seconds:.0f} s",
        "Keep the clocks of all hosts by NTP: keys, deadlines and periods go by them.",
    )


async def _processes(conn: Connection) -> AsyncGenerator[Finding]:
    rows = await (await conn.execute(_QUERIES["connected_roles"])).fetchall()
    connected = {str(row[0]) for row in rows}
    for process, role in _PROCESSES.items():
        if role in connected:
            yield healthy(process, "it is connected to the database")
        else:
            yield failed(
                process,
                f"nobody is connected to the database as {role}",
                f"Start atelier-{process}, and look into its log why it ended.",
            )


def _ledger(unsealed_seconds: float) -> Finding:
    if unsealed_seconds <= _WAITING_SECONDS_MAX:
        return healthy("ledger", "transfers are sealed into the chain as they come")
    return failed(
        "ledger",
        f"a transfer has waited {unsealed_seconds:.0f} s to be sealed",
        "Look into the housekeeper's log: invoices wait for the chain.",
    )


def _spool(server: _Server) -> Finding:
    if server.spooled_seconds <= _WAITING_SECONDS_MAX:
        return healthy("spool", f"{server.spooled_count} pictures are on their way to the store")
    return failed(
        "spool",
        f"{server.spooled_count} pictures wait for the store, one for"
        f" {server.spooled_seconds:.0f} s",
        "The picture store takes nothing: look at `picture store` and into the recorder's log.",
    )


async def _devices(conn: Connection) -> AsyncGenerator[Finding]:
    async with conn.cursor(row_factory=typed_row(_Device)) as cursor:
        await cursor.execute(_QUERIES["list_devices"])
        devices = await cursor.fetchall()
    if not devices:
        yield failed(
            "gpus",
            "the fleet knows no device",
            "Start atelier-meter, which finds the devices, then atelier-fleet.",
        )
        return
    cards = [device for device in devices if device.kind == "NVIDIA"]
    processors = len(devices) - len(cards)
    yield healthy("gpus", f"{len(cards)} NVIDIA cards, {processors} shares of the processor")
    for device in devices:
        for finding in _device(device):
            yield finding


def _device(device: _Device) -> Iterator[Finding]:
    check = f"energy of {device.gpu_id}"
    age = device.reading_age_seconds
    if not device.has_worker and device.kind != "NVIDIA":
        return
    if age is None:
        yield unknown(check, "nothing has been measured yet")
    elif age > _READING_SECONDS_MAX:
        yield failed(
            check,
            f"the newest reading is {age:.0f} s old",
            "Look into the meter's log: images that are drawn now get receipts without energy.",
        )
    elif device.source == "ESTIMATED":
        yield warning(
            check,
            "it is estimated from processor time, not measured",
            "Charge by kWh only where a counter counts: NVML on a GPU, RAPL on a processor.",
        )
    else:
        yield healthy(check, f"{device.source}, newest reading {age:.0f} s ago")
    if device.throttle_reasons:
        yield warning(
            f"heat of {device.gpu_id}",
            f"{device.display_name} holds back: {', '.join(device.throttle_reasons)}",
            "See the runbook on heat, power and draining.",
        )
