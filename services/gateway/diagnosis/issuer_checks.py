"""The issuers whose tokens are taken: whether their keys are there, and how old they are."""

from collections.abc import Iterable, Iterator

from services.gateway.diagnosis.finding import Finding, failed, healthy, warning
from services.gateway.identity.token_verification import TrustedIssuer

_ADVICE = "See issuer_keys_not_read in the gateway's log, and this issuer in its file of issuers."


def look_at_issuers(trusted: Iterable[TrustedIssuer]) -> Iterator[Finding]:
    """Tell what this gateway has of each; another replica may have more."""
    for one in trusted:
        yield _finding(one)


def _finding(one: TrustedIssuer) -> Finding:
    check, keys = f"issuer {one.issuer.url}", one.keys
    if not keys.failure:
        return healthy(check, f"its keys were read {keys.age_seconds:.0f} s ago")
    left_seconds = one.issuer.keys_kept_seconds - keys.age_seconds
    if left_seconds <= 0:
        return failed(check, f"its tokens open nothing: {keys.failure}", _ADVICE)
    return warning(
        check,
        f"it does not answer ({keys.failure}); its tokens open for {left_seconds:.0f} s more",
        _ADVICE,
    )
