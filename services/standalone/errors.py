"""Why an installation on one machine cannot start."""


class StandaloneError(Exception):
    """Root of this package's errors; its words are for the person at the terminal."""


class NoPostgresError(StandaloneError):
    """There are no PostgreSQL binaries on this machine."""


class PostgresStartError(StandaloneError):
    """PostgreSQL did not start; the words hold the end of its log."""
