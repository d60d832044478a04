"""What can go wrong with tenants and keys, as far as a caller can act on it."""


class TenantError(Exception):
    """Root of this package's errors."""


class TenantExistsError(TenantError):
    """A tenant of that name exists already."""


class KeyNotFoundError(TenantError):
    """The tenant has no such key."""


class RunDirectoryTooLongError(TenantError):
    """The path of the run directory leaves too little room for the sockets in it."""
