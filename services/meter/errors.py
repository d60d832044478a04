"""What can go wrong in the meter, as far as a caller can act on it."""


class MeterError(Exception):
    """Root of this package's errors."""


class RecorderUnavailableError(MeterError):
    """The recorder does not answer now; asking again is right."""


class SegmentsRefusedError(MeterError):
    """The recorder will not store these segments, however often they are sent."""


class MarksInvalidError(MeterError):
    """A worker's message breaks the contract."""
