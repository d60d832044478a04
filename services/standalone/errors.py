"""Why an installation on one machine cannot start."""


class StandaloneError(Exception):
    """Root of this package's errors; its words are for the person at the terminal."""


class NoPostgresError(StandaloneError):
    """There are no PostgreSQL binaries on this machine."""


class PostgresStartError(StandaloneError):
    """PostgreSQL did not start; the words hold the end of its log."""


class AlreadyRunningError(StandaloneError):
    """Another installation runs on the same data directory; the words name it."""


class ForeignDirectoryError(StandaloneError):
    """A directory that must be ours belongs to another user."""


class PortTakenError(StandaloneError):
    """Another program listens where the gateway should."""


class OperatorKeyError(StandaloneError):
    """The operator's first key could not be made."""


class StartError(StandaloneError):
    """A process did not come up; the words hold the end of its log."""
