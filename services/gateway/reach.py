"""What the gateway reaches beyond itself, open for as long as it serves."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from database.pool import Pool, open_pool
from database.wakeups import Wakeups
from services.gateway.identity.binding_lookups import BindingLookups, StoredBindingDirectory
from services.gateway.identity.issuers import read_issuers
from services.gateway.identity.token_verification import TrustedIssuer
from services.gateway.identity.trust import trusting
from services.gateway.key_directory import StoredKeyDirectory
from services.gateway.key_lookups import KeyLookups, LookupLimits
from services.gateway.recorder_client import RecorderClient, open_recorder_client
from services.gateway.settings import Settings
from services.jobs.model_catalogue import ModelCatalogue, load_catalogue
from services.object_store import ObjectStoreDoor

# Each up to 4 KiB long, where a token names 64 groups.
_IDENTITIES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Database, objects, recorder, and the news that come by themselves."""

    pool: Pool
    # All tenants: only calls that an operator's key opened may use it.
    operator_pool: Pool
    recorder: RecorderClient
    store: ObjectStoreDoor
    catalogue: ModelCatalogue
    job_news: Wakeups
    lookups: KeyLookups
    # Whose tokens are taken, by their `iss`; and what those open.
    trusted: Mapping[str, TrustedIssuer]
    bindings: BindingLookups


@asynccontextmanager
async def open_reach(settings: Settings) -> AsyncGenerator[Reach]:
    """Open all of it and listen for news; the catalogue is read once, at the start."""
    catalogue = load_catalogue(settings.model_catalogue_path)
    issuers = read_issuers(settings.issuers_path) if settings.issuers_path else ()
    database_url = settings.database_url.get_secret_value()
    async with (
        _pools(settings) as (pool, operator_pool),
        open_recorder_client(settings.recorder) as recorder,
        trusting(issuers) as trusted,
    ):
        store = ObjectStoreDoor(settings.objects_url)
        await store.look()
        lookups = _key_lookups(settings, pool)
        bindings = _binding_lookups(settings, pool)

        def forget(subject: str) -> None:
            lookups.forget(subject)
            bindings.forget(subject)

        job_news = Wakeups(database_url, channel="atelier_jobs")
        key_news = Wakeups(database_url, channel="atelier_keys", heard=forget)
        async with job_news.listening(), key_news.listening():
            yield Reach(
                pool=pool,
                operator_pool=operator_pool,
                recorder=recorder,
                store=store,
                catalogue=catalogue,
                job_news=job_news,
                lookups=lookups,
                trusted=trusted,
                bindings=bindings,
            )


@asynccontextmanager
async def _pools(settings: Settings) -> AsyncGenerator[tuple[Pool, Pool]]:
    """One pool that sees the caller's tenant, and one for operators."""
    async with (
        open_pool(
            settings.database_url.get_secret_value(),
            size_max=settings.database_connections_max,
            application_name="gateway",
        ) as pool,
        open_pool(
            settings.operator_database_url.get_secret_value(),
            size_max=settings.operator_database_connections_max,
            application_name="gateway-operator",
        ) as operator_pool,
    ):
        yield pool, operator_pool


def _key_lookups(settings: Settings, pool: Pool) -> KeyLookups:
    return KeyLookups(
        StoredKeyDirectory(pool),
        LookupLimits(
            cache_seconds=settings.key_cache_seconds,
            strangers_per_minute_max=settings.unknown_key_lookups_per_minute_max,
        ),
    )


def _binding_lookups(settings: Settings, pool: Pool) -> BindingLookups:
    return BindingLookups(
        StoredBindingDirectory(pool),
        LookupLimits(
            cache_seconds=settings.key_cache_seconds,
            # Who asks has a token that its issuer signed, and may be bound at any moment.
            unknown_seconds=settings.key_cache_seconds,
            keys_max=_IDENTITIES_MAX,
            strangers_per_minute_max=settings.unknown_key_lookups_per_minute_max,
        ),
    )
