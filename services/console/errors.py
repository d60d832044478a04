"""What the console itself refuses. What the gateway refuses are the SDK's errors."""


class ConsoleError(Exception):
    """A request that gets an error page; ``status_code`` is HTTP's."""

    status_code = 400


class FormTooLargeError(ConsoleError):
    """The form has more bytes than any of ours."""

    status_code = 413


class UnreadableFormError(ConsoleError):
    """The body is no form."""

    status_code = 415


class ForgedFormError(ConsoleError):
    """The form does not carry the session's token: it was not ours."""

    status_code = 403


class PageNotFoundError(ConsoleError):
    """There is no such page, or not for this visitor: both look alike."""

    status_code = 404


class RoleMissingError(ConsoleError):
    """The page is for another role of the same tenant."""

    status_code = 403


class TooManyLivePagesError(ConsoleError):
    """The session has as many live pages open as it may."""

    status_code = 429


class NotOursError(ConsoleError):
    """A picture is no picture, or larger than it says."""

    status_code = 502
