"""What can go wrong with money and energy, as far as a caller can act on it."""

from datetime import datetime

from tenants.ids import TenantId


class MeteringError(Exception):
    """Root of this package's errors."""


class InsufficientBalanceError(MeteringError):
    """The wallet cannot carry a hold; nothing was booked once the transaction is rolled back."""

    def __init__(self, *, needed_nanos: int, currency: str) -> None:
        super().__init__(f"the balance does not cover {needed_nanos} nanos of {currency}")
        self.needed_nanos = needed_nanos
        self.currency = currency


class BudgetExceededError(MeteringError):
    """A hard budget cannot carry a hold; nothing was booked once the transaction is rolled back."""

    def __init__(self, *, tenant_id: TenantId, budget_id: str, needed_nanos: int) -> None:
        super().__init__(f"the budget {budget_id} does not cover {needed_nanos} nanos")
        self.tenant_id = tenant_id
        self.budget_id = budget_id
        self.needed_nanos = needed_nanos


class BudgetLimitError(MeteringError):
    """A tenant has as many budgets as it may."""


class DeviceTakenError(MeteringError):
    """A worker of another tenant is on the device; it belongs to one tenant at a time."""


class UnknownAccountError(MeteringError):
    """The tenant has no account in that currency."""


class AmountOverflowError(MeteringError):
    """An amount is larger than the ledger can hold."""


class PriceInvalidError(MeteringError):
    """A price document breaks a rule; ``field`` names the member at fault."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        self.description = description


class PriceFeatureUnsupportedError(PriceInvalidError):
    """A price document asks for something that would not be priced; never ignored in silence."""


class ModelNotPricedError(MeteringError):
    """A price charges nothing for a model: it is not sold at that price, and not given away."""


class PriceVersionExistsError(MeteringError):
    """The price book has a version in that currency with that effective time already."""


class CurrencyMixError(MeteringError):
    """Amounts of two currencies met where one is expected."""


class UsageInvalidError(MeteringError):
    """Facts of an image that cannot be: negative or not finite."""


class InvoiceNotFoundError(MeteringError):
    """There is no such period: misspelt, in the future, or before the tenant existed."""


class InvoiceNotDueError(MeteringError):
    """Its period is not over, or facts may still come; ``due_time`` says from when on."""

    def __init__(self, invoice_id: str, *, due_time: datetime) -> None:
        super().__init__(f"{invoice_id} can be finalized from {due_time.isoformat()} on")
        self.due_time = due_time


class InvoiceOutOfOrderError(MeteringError):
    """Invoices follow one another: an earlier period waits, or a later one is finalized."""

    def __init__(self, invoice_id: str, *, other_id: str) -> None:
        super().__init__(f"{invoice_id} cannot be finalized with {other_id} as it is")
        self.other_id = other_id


class InvoiceStateError(MeteringError):
    """The invoice's state does not admit that; ``state`` is the one it is in."""

    def __init__(self, invoice_id: str, *, state: str) -> None:
        super().__init__(f"{invoice_id} is {state}")
        self.state = state


class InvoiceAmountError(MeteringError):
    """An amount that does not fit the invoice; ``due_nanos`` is what is left of it."""

    def __init__(self, invoice_id: str, *, due_nanos: int, currency: str) -> None:
        super().__init__(f"{invoice_id} has {due_nanos} nanos of {currency} left")
        self.due_nanos = due_nanos
        self.currency = currency


class InvariantsViolatedError(MeteringError):
    """Sums that must hold do not: nothing is invoiced; ``names`` are the invariants."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(", ".join(names))
        self.names = names


class EnergyFactorsInvalidError(MeteringError):
    """PUE or carbon intensity that cannot be."""


class TimeZoneUnknownError(MeteringError):
    """A tenant's time zone is not in the IANA database."""


class LedgerMismatchError(MeteringError):
    """Usage and captures of a period differ: nothing is invoiced until that is cleared."""


class SegmentsInvalidError(MeteringError):
    """Energy segments that cannot be stored: not consecutive, not of one hour, not adding up."""


class CalibrationInvalidError(MeteringError):
    """A file of a card's measured power cannot be read."""


class CounterError(MeteringError):
    """The device's energy cannot be read."""


class CounterUnavailableError(CounterError):
    """It cannot be read now; the next reading may succeed."""


class CounterUnsupportedError(CounterError):
    """This device has no such counter and never will."""
