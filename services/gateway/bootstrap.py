"""The first operator's key, which no other key can make."""

from database.pool import open_pool, transaction
from services.gateway.errors import OperatorKeyExistsError
from tenants.api_key_store import KeyToStore, insert_key, list_keys
from tenants.api_keys import Role, new_key
from tenants.ids import OPERATOR_TENANT_ID


async def make_first_operator_key(
    operator_database_url: str, *, pepper: bytes, another: bool
) -> str:
    """Store an operator's key and return its text, which is shown nowhere else.

    Raises:
        OperatorKeyExistsError: there is one already, and ``another`` was not asked for.
    """
    made = new_key(pepper=pepper)
    async with open_pool(operator_database_url, size_max=1) as pool, transaction(pool) as conn:
        existing = await list_keys(conn, OPERATOR_TENANT_ID, limit=1)
        if existing and not another:
            raise OperatorKeyExistsError("an operator's key exists; --another makes a further one")
        await insert_key(
            conn,
            KeyToStore(
                tenant_id=OPERATOR_TENANT_ID,
                key_id=made.key_id,
                display_name="bootstrap",
                role=Role.OPERATOR,
                project="",
                secret_hmac=made.secret_hmac,
                allowed_networks=[],
                expire_time=None,
            ),
        )
    return made.text
