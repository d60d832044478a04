"""What can go wrong with tenants and keys, as far as a caller can act on it."""


class TenantError(Exception):
    """Root of this package's errors."""


class TenantExistsError(TenantError):
    """A tenant of that name exists already."""


class KeyNotFoundError(TenantError):
    """The tenant has no such key."""


class BindingNotFoundError(TenantError):
    """The tenant has no such identity binding."""


class IdentityBoundError(TenantError):
    """This claim of this issuer is bound already, to this tenant or another."""


class RunDirectoryTooLongError(TenantError):
    """The path of the run directory leaves too little room for the sockets in it."""


class TimeZoneRefusedError(TenantError):
    """Python and PostgreSQL do not read this time zone alike; ``reason`` says which of them."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.reason = reason
