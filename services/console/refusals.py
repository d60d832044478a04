"""What goes wrong, in words for people and a status for browsers. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from atelier.errors import (
    CallError,
    DeadlineExceededError,
    ExhaustedError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from services.console.errors import (
    ConsoleError,
    ForgedFormError,
    FormTooLargeError,
    NotOursError,
    PageNotFoundError,
    RoleMissingError,
    TooManyLivePagesError,
)

# Long enough not to hammer a gateway that starts, short enough not to be noticed.
_AGAIN_SECONDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error page."""

    status_code: int
    title: str
    text: str
    # What exactly, line by line: the gateway's own words.
    details: Sequence[str] = ()
    # The page asks again by itself after this.
    again_seconds: int | None = None


def refusal_of(error: ConsoleError | CallError) -> Refusal:
    """Word an error."""
    return _own(error) if isinstance(error, ConsoleError) else _gateways(error)


def reason_of(error: CallError) -> list[str]:
    """Say beside a form why the gateway refused it."""
    if error.violations:
        return [f"{one.subject}: {one.description}" for one in error.violations]
    return [error.status.message]


_OWN: Final[dict[type[ConsoleError], tuple[str, str]]] = {
    ForgedFormError: (
        "This form was not accepted",
        "It is not of your session; perhaps you logged in again since. Nothing was changed.",
    ),
    FormTooLargeError: (
        "That is too much at once",
        "Split the prompts over several jobs, or use the SDK for very large ones.",
    ),
    NotOursError: ("The picture cannot be shown", "Its bytes are not a picture of ours."),
    RoleMissingError: (
        "This page needs an admin's key",
        "Your key is a member's. Ask whoever manages your studio's keys.",
    ),
    TooManyLivePagesError: (
        "Too many pages are open",
        "Close some of them; this one shows what was so when it was opened.",
    ),
}


def _own(error: ConsoleError) -> Refusal:
    title, text = _OWN.get(
        type(error),
        ("There is nothing here", "The address is wrong, or what was here is not yours to see."),
    )
    return Refusal(status_code=error.status_code, title=title, text=text)


def _gateways(error: CallError) -> Refusal:  # noqa: PLR0911 - one for each kind, read as a table
    details = reason_of(error)
    if isinstance(error, UnavailableError | DeadlineExceededError):
        return Refusal(
            status_code=503,
            title="The gateway does not answer",
            text="What is being drawn goes on meanwhile. This page asks again by itself.",
            again_seconds=_AGAIN_SECONDS,
        )
    if isinstance(error, NotFoundError):
        return _own(PageNotFoundError())
    if isinstance(error, NotAllowedError):
        return Refusal(status_code=403, title="Your key may not do this", text="", details=details)
    if isinstance(error, ExhaustedError):
        return Refusal(status_code=429, title="Not now", text="", details=details)
    if isinstance(error, PreconditionError):
        return Refusal(status_code=409, title="This is not possible now", text="", details=details)
    if isinstance(error, InvalidRequestError):
        return Refusal(status_code=400, title="The gateway refused this", text="", details=details)
    return Refusal(
        status_code=502,
        title="Something is wrong with the installation",
        text="It is not your fault. The operator finds more in the gateway's log.",
        details=details,
    )
