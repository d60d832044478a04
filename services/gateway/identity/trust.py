"""The issuers that a gateway trusts, put together: keys that are read, tokens that are checked."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from services.gateway.identity.issuer_keys import IssuerKeys, KeyReader
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import SigningKeys, read_jwks_url, read_signing_keys
from services.gateway.identity.token_verification import TrustedIssuer
from services.transport.guarded_fetch import GuardedFetcher

_HTTPS_PORT = 443
# Where OpenID Connect Discovery has an issuer tell of itself.
_DISCOVERY = "/.well-known/openid-configuration"


@asynccontextmanager
async def trusting(issuers: tuple[Issuer, ...]) -> AsyncGenerator[Mapping[str, TrustedIssuer]]:
    """Read the keys of all issuers for as long as the block runs; none of them is waited for."""
    trusted = {
        issuer.url: TrustedIssuer(issuer=issuer, keys=IssuerKeys(issuer, key_reader(issuer)))
        for issuer in issuers
    }
    readers = [asyncio.create_task(one.keys.keep_reading()) for one in trusted.values()]
    try:
        yield trusted
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        for one in trusted.values():
            await one.keys.finish()


def key_reader(issuer: Issuer) -> KeyReader:
    """Make what reads an issuer's keys once."""
    fetcher = GuardedFetcher(
        private_networks=issuer.private_networks,
        # Those that the operator has written, and https's own for what discovery names.
        ports=frozenset({_HTTPS_PORT, _port(issuer.url), _port(issuer.jwks_url or issuer.url)}),
        tls=issuer.tls(),
    )

    async def read() -> SigningKeys:
        url = issuer.jwks_url
        if url is None:
            said = await fetcher.fetch(issuer.url.rstrip("/") + _DISCOVERY)
            url = read_jwks_url(said, issuer)
        return read_signing_keys(await fetcher.fetch(url), issuer.algorithms)

    return read


def _port(url: str) -> int:
    return urlsplit(url).port or _HTTPS_PORT
