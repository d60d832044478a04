"""What can go wrong on the way to PostgreSQL."""


class DatabaseError(Exception):
    """Root of this package's errors."""


class UnknownQueryError(DatabaseError):
    """A query was asked for that its `.sql` file does not hold."""


class MalformedQueriesError(DatabaseError):
    """A `.sql` file of named queries cannot be read: text before a name, or a name twice."""


class MigrationError(DatabaseError):
    """Root of what stops a migration."""


class MigrationChangedError(MigrationError):
    """A migration that was applied differs from its file: it must never be edited."""


class MigrationUnknownError(MigrationError):
    """The database has a migration that this version does not know: the code is older."""


class MigrationNumberingError(MigrationError):
    """The files are not numbered 0001, 0002, … without a gap."""


class MigrationLockTimeoutError(MigrationError):
    """Another process is migrating and did not end in time."""
