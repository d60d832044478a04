"""Everything that the database holds of a tenant: what nobody else's call may change."""

from typing import Any

from psycopg import AsyncConnection, sql

_TABLES = (
    b"SELECT DISTINCT table_name FROM information_schema.columns JOIN information_schema.tables"
    b" USING (table_name) WHERE column_name = 'tenant_id' AND columns.table_schema = 'public'"
)


async def rows_of(admin_url: str, tenant_id: str) -> dict[str, Any]:
    """Count and hash the tenant's rows, table by table."""
    found: dict[str, Any] = {}
    async with await AsyncConnection.connect(admin_url) as connection:
        for (table,) in await (await connection.execute(_TABLES)).fetchall():
            query = sql.SQL(
                "SELECT count(*), md5(string_agg(r::text, E'\\n' ORDER BY r::text))"
                " FROM {} AS r WHERE tenant_id = %(tenant)s"
            ).format(sql.Identifier(table))
            cursor = await connection.execute(query, {"tenant": tenant_id})
            found[table] = await cursor.fetchall()
    return found
