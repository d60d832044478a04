from services.gateway.diagnosis.finding import State
from services.gateway.diagnosis.issuer_checks import look_at_issuers
from services.gateway.errors import CallRefusedError
from services.gateway.identity.issuer_keys import IssuerKeys
from services.gateway.identity.token_verification import TrustedIssuer
from tests.unit.services.gateway.identity.test_issuer_keys import KNOWN, Clock, Provider
from tests.unit.services.gateway.identity.token_fixtures import ISSUER


async def finding_after(*questions: tuple[float, bool]) -> tuple[State, str]:
    """Ask at some seconds, the issuer being away or not, and look."""
    provider, clock = Provider(), Clock()
    keys = IssuerKeys(ISSUER, provider.read, monotonic_seconds=clock)
    for seconds, is_down in questions:
        clock.seconds, provider.is_down = seconds, is_down
        try:
            await keys.find("unknown", KNOWN[1])
        except CallRefusedError:
            continue
    (finding,) = look_at_issuers([TrustedIssuer(issuer=ISSUER, keys=keys)])
    return finding.state, finding.message


async def test_an_issuer_that_answers_is_well() -> None:
    assert await finding_after((0, False)) == (State.OK, "its keys were read 0 s ago")


async def test_an_issuer_that_is_away_is_told_before_its_tokens_stop_opening() -> None:
    state, message = await finding_after((0, False), (600, True))

    assert state is State.WARNING
    assert "open for 21000 s more" in message


async def test_an_issuer_whose_keys_are_too_old_or_never_came_is_failed() -> None:
    never = await finding_after((0, True))
    too_old = await finding_after((0, False), (6 * 3600, True))

    assert [never[0], too_old[0]] == [State.FAILED] * 2
    assert "answered 503" in never[1]
