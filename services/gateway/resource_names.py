"""Resource names: ``tenants/{tenant}/jobs/{job}`` and the like, taken apart and put together."""

import re
from typing import Final

_SEGMENT: Final = r"([A-Za-z0-9._~-]{1,64})"


class NamePattern:
    """The form of one kind of name; ``{}`` stands for an id."""

    def __init__(self, template: str) -> None:
        self.template = template
        self._expression = re.compile(template.replace("{}", _SEGMENT))

    def parse(self, name: str) -> tuple[str, ...] | None:
        """Return the ids in a name, or None when it has another form."""
        found = self._expression.fullmatch(name)
        return found.groups() if found else None

    def write(self, *ids: str) -> str:
        """Put a name together."""
        return self.template.format(*ids)


TENANT: Final = NamePattern("tenants/{}")
JOB: Final = NamePattern("tenants/{}/jobs/{}")
IMAGE: Final = NamePattern("tenants/{}/jobs/{}/images/{}")
AUDIT_EVENT: Final = NamePattern("tenants/{}/auditEvents/{}")
API_KEY: Final = NamePattern("tenants/{}/apiKeys/{}")
IDENTITY_BINDING: Final = NamePattern("tenants/{}/identityBindings/{}")
INVOICE: Final = NamePattern("tenants/{}/invoices/{}")
CREDIT_NOTE: Final = NamePattern("tenants/{}/invoices/{}/creditNotes/{}")
TRANSFER: Final = NamePattern("tenants/{}/transfers/{}")
BUDGET: Final = NamePattern("tenants/{}/budgets/{}")
MODEL: Final = NamePattern("models/{}")
BALANCE: Final = NamePattern("tenants/{}/balance")
PRICE_VERSION: Final = NamePattern("priceVersions/{}")
COST_VERSION: Final = NamePattern("costVersions/{}")
GPU: Final = NamePattern("gpus/{}")
WORKER: Final = NamePattern("gpus/{}/worker")
POWER_POLICY: Final = NamePattern("gpus/{}/powerPolicy")
