"""What can go wrong on the wire, as far as a caller can act on it."""


class DispatchError(Exception):
    """Root of this package's errors."""


class BrokerDownError(DispatchError):
    """The tenant's broker does not answer; the housekeeper publishes what is missing later."""


class BrokerFullError(BrokerDownError):
    """It answers and has no room for a token."""


class BrokerKeysError(BrokerDownError):
    """It answers, and where tokens belong it holds something else."""
