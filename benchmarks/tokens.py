"""What a caller's token costs the gateway's processor, good and forged, beside a key.

    python benchmarks/tokens.py [--calls 2000] [--rounds 5]

In this process, without network and database: the gateway's own verifier with an issuer whose keys
are there. Processor time of a call, the median of the rounds, so that a busy machine counts little.
Writes benchmarks/results/tokens.json.
"""

import argparse
import asyncio
import contextlib
import logging
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog
from machine import describe_machine, write_result

from services.gateway.identity.errors import TokenRefusedError
from services.gateway.identity.issuer_keys import IssuerKeys
from services.gateway.identity.signing_keys import SigningKeys
from services.gateway.identity.token_verification import TokenVerifier, TrustedIssuer
from tenants.api_keys import new_key, parse_key
from tests.unit.services.gateway.identity.token_fixtures import (
    ALGORITHMS,
    ISSUER,
    NOW,
    URL,
    claims,
    forged,
    issuers_keys,
    signed,
)

RESULT: Final = Path(__file__).parent / "results" / "tokens.json"
# No limit: what is measured is what it bounds.
ANY_NUMBER: Final = 10**9
HEADER: Final = {"alg": "ES256", "kid": "key-ES256", "typ": "at+jwt"}


async def read_keys() -> SigningKeys:
    """Answer as the issuer does, without a network."""
    return issuers_keys()


def new_verifier() -> TokenVerifier:
    """Make one that knows no token yet."""
    keys = IssuerKeys(ISSUER, read_keys)
    return TokenVerifier(
        {URL: TrustedIssuer(issuer=ISSUER, keys=keys)},
        strangers_per_minute_max=ANY_NUMBER,
        now_seconds=lambda: NOW,
    )


def token_cases(count: int) -> Iterator[tuple[str, list[str]]]:
    """Each kind of token, so many times; what is new each time is new to the verifier."""
    yield "noise of 6 KiB", ["eyJ" + "x" * 6_000] * count
    yield "another issuer", [forged(HEADER, claims(iss="https://evil.example"))] * count
    yield "expired", [forged(HEADER, claims(iat=NOW - 900, exp=NOW - 600))] * count
    yield "invented key id", [forged(HEADER | {"kid": str(n)}, claims()) for n in range(count)]
    for algorithm in ALGORITHMS:
        header = HEADER | {"alg": algorithm, "kid": f"key-{algorithm}"}
        length = 256 if algorithm == "RS256" else 64
        wrong = [
            forged(header, claims(), number.to_bytes(length, "big")) for number in range(count)
        ]
        yield f"forged signature, {algorithm}", wrong
        yield f"good and new, {algorithm}", [signed(algorithm, jti=str(n)) for n in range(count)]
        yield f"good and known, {algorithm}", [signed(algorithm)] * count


async def microseconds(verifier: TokenVerifier, tokens: list[str]) -> float:
    """Processor time of one call."""
    # Keys are read, and what stays the same is known.
    await tried(verifier, tokens[0])
    before = time.process_time()
    for token in tokens:
        await tried(verifier, token)
    return (time.process_time() - before) / len(tokens) * 1e6


async def tried(verifier: TokenVerifier, token: str) -> None:
    """Check a token, whether it holds or not."""
    with contextlib.suppress(TokenRefusedError):
        await verifier.verify(token)


def key_microseconds(count: int) -> float:
    """Processor time of refusing a key by its checksum."""
    wrong = new_key(pepper=b"nobody's").text[:-1] + "!"
    before = time.process_time()
    for _ in range(count):
        parse_key(wrong)
    return (time.process_time() - before) / count * 1e6


def main() -> None:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rounds: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        rounds.setdefault("key, wrong checksum", []).append(key_microseconds(arguments.calls))
        for name, tokens in token_cases(arguments.calls):
            rounds.setdefault(name, []).append(asyncio.run(microseconds(new_verifier(), tokens)))
    told = {name: round(statistics.median(found), 1) for name, found in rounds.items()}
    for name, median in told.items():
        print(f"{name:30} {median:8.1f} microseconds")
    spread = {name: [round(min(found), 1), round(max(found), 1)] for name, found in rounds.items()}
    write_result(
        {
            "machine": describe_machine(),
            "calls": arguments.calls,
            "rounds": arguments.rounds,
            "microseconds": told,
            "microseconds_least_and_most": spread,
        },
        RESULT,
    )


if __name__ == "__main__":
    main()
