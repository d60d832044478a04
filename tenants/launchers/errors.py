"""Why a worker cannot be started as it must be."""


class LauncherError(Exception):
    """Root of this package's errors."""


class LauncherUnavailableError(LauncherError):
    """A layer of the isolation is missing on this host; the words say which, and what to do."""


class WorkerRefusedError(LauncherError):
    """A worker would not be, or is not, confined as it must be; it does not run."""
