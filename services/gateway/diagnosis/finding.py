"""What a look at one part of the installation came to."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a part does; named as in the contract."""

    OK = "OK"
    WARNING = "WARNING"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part, with a sentence on how it does and one on what to do."""

    check: str
    state: State
    message: str
    advice: str = ""


def healthy(check: str, message: str) -> Finding:
    """The part is as it should be."""
    return Finding(check=check, state=State.OK, message=message)


def warning(check: str, message: str, advice: str) -> Finding:
    """The part works, and somebody should know."""
    return Finding(check=check, state=State.WARNING, message=message, advice=advice)


def failed(check: str, message: str, advice: str) -> Finding:
    """The part does not work."""
    return Finding(check=check, state=State.FAILED, message=message, advice=advice)


def unknown(check: str, message: str, advice: str = "") -> Finding:
    """The gateway cannot look at it."""
    return Finding(check=check, state=State.UNKNOWN, message=message, advice=advice)
