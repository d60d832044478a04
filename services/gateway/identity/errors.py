"""What can be wrong with issuers and their tokens."""


class IdentityError(Exception):
    """Anything below."""


class IssuersError(IdentityError):
    """The file of trusted issuers is not as it must be; told to who starts the gateway."""


class KeySetError(IdentityError):
    """What an issuer answered is no set of keys."""


class TokenRefusedError(IdentityError):
    """A token opens nothing.

    The reason is a word for our own log; a stranger learns none of it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
