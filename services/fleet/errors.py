"""Why the fleet cannot do its work."""


class FleetError(Exception):
    """Root of this package's errors."""


class NoBrokerProgramError(FleetError):
    """There is no Valkey on this machine."""


class BrokerStartError(FleetError):
    """A broker did not come up; the words hold the end of its log."""


class MeterUnavailableError(FleetError):
    """The host's meter does not answer."""
