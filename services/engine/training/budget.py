"""Training by the clock: a stage is given seconds, and its learning rate follows their passing.

So a stage fits a rented machine of unknown speed, and one that was interrupted goes on where its
saved clock stood.
"""

import math
from dataclasses import dataclass, field
from time import monotonic


@dataclass(slots=True, kw_only=True)
class Budget:
    """Seconds to spend, and those spent in earlier runs."""

    seconds: float
    spent_before: float = 0.0
    began: float = field(default_factory=monotonic)
    reported: float = 0.0

    @property
    def spent(self) -> float:
        return self.spent_before + monotonic() - self.began

    @property
    def fraction(self) -> float:
        return min(1.0, self.spent / self.seconds)

    @property
    def is_over(self) -> bool:
        return self.fraction >= 1.0

    def learning_rate(self, highest: float, *, lowest: float) -> float:
        """A short rise, then a cosine's fall."""
        rise = min(1.0, self.fraction / 0.02 + 0.02)
        fall = 0.5 + 0.5 * math.cos(math.pi * self.fraction)
        return rise * (lowest + (highest - lowest) * fall)

    def of_its_own_reports(self) -> "Budget":
        """The same clock for something else that is done every so often, from now on."""
        return Budget(
            seconds=self.seconds,
            spent_before=self.spent_before,
            began=self.began,
            reported=self.spent,
        )

    def is_time_to_report(self, every: float) -> bool:
        """True once per that many seconds."""
        if self.spent - self.reported < every:
            return False
        self.reported = self.spent
        return True
