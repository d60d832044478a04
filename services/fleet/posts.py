"""What tenants want of the devices, what they hold, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one tenant has waiting or in work."""

    tenant_id: str
    create_time: datetime
    # Those it may use, the preferred one first; at least one.
    models: tuple[str, ...]
    # Estimated GPU-seconds by model; 0 is left out.
    backlog_seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    # Its part of the devices beside the others'.
    weight: float = 1.0
    # GPU-seconds it has had, divided by its weight: who had least comes next.
    used_seconds: float = 0.0
    # It had work lately: a free device keeps its worker warm.
    keeps_warm: bool = True

    @property
    def work_seconds(self) -> float:
        return sum(self.backlog_seconds.get(model, 0.0) for model in self.models)

    @property
    def has_work(self) -> bool:
        return self.work_seconds > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One worker's place: a device draws one model for one tenant."""

    gpu_id: str
    tenant_id: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A post that is held, and for how long its worker was ready to draw."""

    post: Post
    held_seconds: float = 0.0
    # Until then nobody takes the device from a tenant with work. It grows with the cold start that
    # a change of hands costs, so that loading models never eats more than a part of the time.
    dwell_seconds: float = 0.0
    # What the next tenant's worker needs before it draws.
    cold_start_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """A device that another tenant's worker has to leave."""

    gpu_id: str
    from_tenant_id: str
    to_tenant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What should be: the posts, who takes whose device, and who has work and no device."""

    posts: tuple[Post, ...]
    takeovers: tuple[Takeover, ...] = ()
    waiting_tenants: tuple[str, ...] = ()
