"""What can be wrong with a certificate."""


class TransportError(Exception):
    """Anything below."""


class IdentityUnclearError(TransportError):
    """A certificate names none of our processes, or more than one."""


class FetchError(TransportError):
    """A document could not be fetched, or from there it must not be."""
