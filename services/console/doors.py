"""The ways to the gateway: one client for each key, shared by all sessions that hold the key."""

from dataclasses import dataclass, field
from typing import Final

from atelier import AsyncClient, RetryPolicy
from services.console.live import LiveGpus, LiveJobs, LiveOverviews

# A page says soon that the gateway does not answer, instead of waiting for it in silence.
_PATIENCE: Final = RetryPolicy(attempts_max=2, hint_seconds_max=2.0)


@dataclass(slots=True, kw_only=True)
class Door:
    """A key's client, and what its pages follow together."""

    client: AsyncClient
    jobs: LiveJobs
    overviews: LiveOverviews
    gpus: LiveGpus
    # Tenant → client; operators look at one tenant after the other.
    by_tenant: dict[str, AsyncClient] = field(default_factory=dict[str, AsyncClient])
    holders: int = 0


class Doors:
    """Opens a door for a key, and closes it when nobody holds it any more."""

    def __init__(
        self, address: str, *, root_certificates: bytes | None, overview_seconds: float
    ) -> None:
        self._address = address
        self._root_certificates = root_certificates
        self._overview_seconds = overview_seconds
        self._doors: dict[str, Door] = {}

    def take(self, api_key: str) -> Door:
        """Return the key's door; each taking needs its giving back."""
        door = self._doors.get(api_key)
        if door is None:
            door = self._doors[api_key] = self._open(api_key)
        door.holders += 1
        return door

    async def give_back(self, api_key: str) -> None:
        door = self._doors[api_key]
        door.holders -= 1
        if door.holders == 0:
            del self._doors[api_key]
            await _close(door)

    def client_for(self, api_key: str, tenant_id: str) -> AsyncClient:
        """Return an operator's client that acts for a tenant."""
        door = self._doors[api_key]
        if tenant_id not in door.by_tenant:
            door.by_tenant[tenant_id] = self._client(api_key, tenant_id)
        return door.by_tenant[tenant_id]

    async def close(self) -> None:
        for door in self._doors.values():
            await _close(door)
        self._doors.clear()

    def _open(self, api_key: str) -> Door:
        client = self._client(api_key, "-")
        return Door(
            client=client,
            jobs=LiveJobs(client),
            overviews=LiveOverviews(client, seconds=self._overview_seconds),
            gpus=LiveGpus(client),
        )

    def _client(self, api_key: str, tenant_id: str) -> AsyncClient:
        return AsyncClient(
            self._address,
            api_key=api_key,
            tenant=tenant_id,
            retry_policy=_PATIENCE,
            root_certificates=self._root_certificates,
        )


async def _close(door: Door) -> None:
    for followed in (door.jobs, door.overviews, door.gpus):
        followed.stop()
    for client in [door.client, *door.by_tenant.values()]:
        await client.close()
