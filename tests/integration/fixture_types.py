"""The types of the fixtures in conftest.py, for the tests that ask for them."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from database.pool import Pool
from database.server import url_for
from services.transport.broker_places import BrokerPlace
from tenants.launchers.child_process import ChildProcess

PASSWORD = "for-tests-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """The test process's own server."""

    admin_url: str

    def url(self, role: str) -> str:
        return url_for(self.admin_url, user=role, password=PASSWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A tenant's broker that runs."""

    socket_path: Path
    data_directory: Path
    child: ChildProcess

    @property
    def place(self) -> BrokerPlace:
        return BrokerPlace(listens_at=self.socket_path)


class RoleConnection(Protocol):
    def __call__(
        self, role: str, *, tenant_id: str | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection[TupleRow]]: ...


class Become(Protocol):
    async def __call__(
        self,
        connection: AsyncConnection[TupleRow],
        role: str | None,
        *,
        tenant_id: str | None = None,
    ) -> None: ...


class Pools(Protocol):
    def __call__(self, role: str) -> AbstractAsyncContextManager[Pool]: ...
