"""Two tenants who have something of everything that a call between our processes can name."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from time import monotonic_ns
from typing import Any, Final

from services.transport.callees import Callee
from services.transport.hosts import read_boot_id
from tests.integration.fixture_types import Postgres
from tests.integration.installation import Studio, eventually, open_studio, spec
from tests.integration.services.recorder.session import Session, drawn
from tests.isolation_matrix.internal.calls import PICTURE
from tests.isolation_matrix.templates import fill

# Longer than any test: what a session beats changes its tenant's rows.
_HEARTBEAT_SECONDS: Final = 3600.0
# An image for each way to end its attempt.
_ENDINGS: Final = ("drawn", "failed", "cancelled", "returned")
_MILLISECOND_NANOS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Ids that a call can name, by the words of the templates."""

    values: Mapping[str, str]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.values.values())

    def fill(self, template: Any) -> Any:
        """Write these ids into a template, and what is another at each time."""
        now_nanos = monotonic_ns()
        momentary = {
            "fresh": f"gpu-{token_hex(6)}",
            "now": str(now_nanos),
            "before": str(now_nanos - _MILLISECOND_NANOS),
            "boot": read_boot_id(),
        }
        return fill(template, {**momentary, **self.values})


# Well-formed, and nobody has them.
NOBODY: Final = Names(
    values={
        "tenant": "nobody",
        "session": "0123456789abcdef",
        "beating": "fedcba9876543210",
        "gpu": "gpu-none",
        "spooled_image": "z" * 20,
        **{f"{which}_image": letter * 20 for which, letter in zip(_ENDINGS, "0123", strict=True)},
        **{
            f"{which}_token": f"00000000-0000-4000-8000-00000000000{number}"
            for number, which in enumerate(_ENDINGS)
        },
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A tenant whose worker's session lives; its ``marks`` must never come to another's eyes."""

    studio: Studio
    names: Names
    marks: tuple[str, ...]
    session: Session

    @property
    def tenant_id(self) -> str:
        return self.studio.tenant_id


def asking(side: Side) -> Side:
    """The side as it asks: what it beats for is another session than the one that must live on."""
    values = {**side.names.values, "beating": token_hex(8)}
    return replace(side, names=Names(values=values))


async def make_side(studio: Studio, recorder: Callee, *, gpu_id: str, directory: Path) -> Side:
    """Claim an image for each ending, finish one more, and leave one waiting."""
    prompt = f"secret{token_hex(6)}"
    jobs = [await studio.accept(spec(seed=number, prompt=prompt)) for number in range(6)]
    session = Session(recorder, gpu_id=gpu_id, heartbeat_seconds=_HEARTBEAT_SECONDS)
    await session.heard()
    held = {which: (await session.claim()).held for which in (*_ENDINGS, "spooled")}
    cancelled = (await studio.image(held["cancelled"].image_id)).job_id
    await studio.cancel(next(job for job in jobs if job.job_id == cancelled))
    assert await session.finish(drawn(held["spooled"]))
    await _back_into_the_spool(studio, held["spooled"].image_id, directory)
    values = {
        "tenant": studio.tenant_id,
        "session": session.session_id,
        "gpu": gpu_id,
        **{f"{which}_image": str(held[which].image_id) for which in (*_ENDINGS, "spooled")},
        **{f"{which}_token": str(held[which].claim_token) for which in _ENDINGS},
    }
    return Side(
        studio=studio,
        # Of another tenant its living session is named; one's own would end with the call's stream.
        names=Names(values={**values, "beating": session.session_id}),
        marks=(prompt, *values.values()),
        session=session,
    )


async def _back_into_the_spool(studio: Studio, image_id: str, directory: Path) -> None:
    """Put a picture back that the recorder has carried to the store, as long as it is asked for."""

    async def stored() -> str | None:
        rows = await studio.rows(
            "SELECT spool_name FROM pictures WHERE image_id = %s AND store_time IS NOT NULL",
            image_id,
        )
        return str(rows[0]["spool_name"]) if rows else None

    path = directory / "spool" / await eventually(stored)

    async def carried_away() -> bool | None:
        return not await asyncio.to_thread(path.exists) or None

    await eventually(carried_away)
    await asyncio.to_thread(path.write_bytes, PICTURE)


async def open_studios(postgres: Postgres, prefix: str) -> tuple[Studio, Studio]:
    return await open_studio(postgres, f"{prefix}-a"), await open_studio(postgres, f"{prefix}-b")
