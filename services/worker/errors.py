"""What can go wrong in a worker, as far as its threads can act on it."""


class WorkerError(Exception):
    """Root of this package's errors."""


class RecorderUnavailableError(WorkerError):
    """The recorder did not answer; ask again."""


class ResultRefusedError(WorkerError):
    """The recorder will never take this result."""


class FetchError(WorkerError):
    """A model cannot be fetched; the message says what to mend."""
