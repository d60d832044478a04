"""What can go wrong with jobs and images, as far as a caller can act on it."""


class JobError(Exception):
    """Root of this package's errors."""


class RequestIdReusedError(JobError):
    """A request_id came back with another call or another body."""


class InvalidTransitionError(JobError):
    """The job or image is not in a state that allows the move."""


class CatalogueError(JobError):
    """The model catalogue cannot be used; says what to mend."""
