"""Why the demo ends without having shown what it should."""

from services.standalone.errors import StandaloneError


class DemoFailedError(StandaloneError):
    """Something did not work or does not add up; the words say what."""
