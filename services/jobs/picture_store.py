"""Pictures as the database knows them: what is expected, what came, and where it lies."""

from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from services.jobs.image_moves import MovedImage
from services.jobs.records import AttemptKey
from tenants.ids import GpuId, ImageId, SessionId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPicture:
    """What a picture must be like, and to whom its attempt was given how many seconds ago.

    Sizes in pixels, format PNG, JPEG or WEBP.
    """

    width: int
    height: int
    output_format: str
    session_id: SessionId
    gpu_id: GpuId
    seconds_since_claim: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPicture:
    """A picture that lies safe in the recorder's spool; sizes in pixels and bytes."""

    sha256: str
    byte_count: int
    content_type: str
    width: int
    height: int
    spool_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledPicture:
    """A picture on its way from the spool to the object store."""

    tenant_id: TenantId
    image_id: ImageId
    spool_name: str
    object_path: str
    sha256: str
    byte_count: int
    content_type: str


async def expected_picture(conn: AsyncConnection, key: AttemptKey) -> ExpectedPicture | None:
    """What the holder of an attempt must bring; None when it is not his any more."""
    async with conn.cursor(row_factory=typed_row(ExpectedPicture)) as cursor:
        await cursor.execute(
            _QUERIES["expected_picture"],
            {"image_id": key.image_id, "attempt": key.attempt, "claim_token": key.claim_token},
        )
        return await cursor.fetchone()


async def insert_picture(conn: AsyncConnection, moved: MovedImage, picture: NewPicture) -> None:
    """Note that an image has a picture, which lies in the spool."""
    await conn.execute(
        _QUERIES["insert_picture"],
        {
            "tenant_id": moved.tenant_id,
            "image_id": moved.image_id,
            "attempt": moved.attempt,
            "sha256": picture.sha256,
            "byte_count": picture.byte_count,
            "content_type": picture.content_type,
            "width": picture.width,
            "height": picture.height,
            "object_path": _object_path(moved, picture.content_type),
            "spool_name": picture.spool_name,
        },
    )


async def pictures_to_store(
    conn: AsyncConnection, *, limit: int, age_seconds: float = 0.0
) -> list[SpooledPicture]:
    """List pictures of all tenants that are still only in the spool, oldest first."""
    async with conn.cursor(row_factory=typed_row(SpooledPicture)) as cursor:
        await cursor.execute(
            _QUERIES["pictures_to_store"], {"limit": limit, "age_seconds": age_seconds}
        )
        return await cursor.fetchall()


async def mark_stored(conn: AsyncConnection, *, tenant_id: TenantId, image_id: ImageId) -> None:
    """Note that a picture has reached the object store."""
    await conn.execute(_QUERIES["mark_stored"], {"tenant_id": tenant_id, "image_id": image_id})


async def spooled_picture(
    conn: AsyncConnection, *, tenant_id: TenantId, image_id: ImageId
) -> SpooledPicture | None:
    """Find where the picture of an image lies in the spool."""
    async with conn.cursor(row_factory=typed_row(SpooledPicture)) as cursor:
        await cursor.execute(
            _QUERIES["spooled_picture"], {"tenant_id": tenant_id, "image_id": image_id}
        )
        return await cursor.fetchone()


def _object_path(moved: MovedImage, content_type: str) -> str:
    suffix = content_type.partition("/")[2]
    return f"tenants/{moved.tenant_id}/jobs/{moved.job_id}/{moved.image_id}.{suffix}"
