"""What was refused of a tenant's workers, as the operator is told."""

from tests.integration.installation import Studio, eventually


async def counts_of(studio: Studio) -> dict[str, object]:
    """Count by reason."""
    rows = await studio.rows(
        "SELECT reason, refused_count FROM worker_refusals WHERE tenant_id = %s", studio.tenant_id
    )
    return {str(row["reason"]): row["refused_count"] for row in rows}


async def until_counted(studio: Studio, *expected: dict[str, int]) -> None:
    """Wait for one of these counts, and nothing else."""

    async def counted() -> bool | None:
        return await counts_of(studio) in expected or None

    try:
        await eventually(counted)
    finally:
        assert await counts_of(studio) in expected
