"""Where one can go: one table for the menu, in its order."""

from dataclasses import dataclass
from typing import Final

from services.console.sessions import Role

MEMBERS: Final = frozenset({Role.MEMBER, Role.ADMIN})
ADMINS: Final = frozenset({Role.ADMIN})
OPERATORS: Final = frozenset({Role.OPERATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An entry of the menu; shown once the service behind it is there."""

    title: str
    path: str
    roles: frozenset[Role]
    icon: str
    exists: bool = True


PLACES: Final = (
    Place(title="Overview", path="/", roles=MEMBERS, icon="home"),
    Place(title="Jobs", path="/jobs", roles=MEMBERS, icon="jobs"),
    Place(title="Usage", path="/usage", roles=MEMBERS, icon="chart"),
    Place(title="Invoices", path="/invoices", roles=ADMINS, icon="invoice"),
    Place(title="Budgets", path="/budgets", roles=ADMINS, icon="budget"),
    Place(title="API keys", path="/keys", roles=ADMINS, icon="key"),
    Place(title="Audit", path="/audit", roles=ADMINS, icon="audit"),
    # Their services are not built yet.
    Place(title="Quality", path="/quality", roles=ADMINS, icon="eye", exists=False),
    Place(title="Webhooks", path="/webhooks", roles=ADMINS, icon="hook", exists=False),
    Place(title="GPUs", path="/operator", roles=OPERATORS, icon="gpu"),
    Place(title="Workers", path="/operator/workers", roles=OPERATORS, icon="jobs"),
    Place(title="Backlog", path="/operator/backlog", roles=OPERATORS, icon="queue"),
    Place(title="Tenants", path="/operator/tenants", roles=OPERATORS, icon="tenants"),
    Place(title="Prices", path="/operator/prices", roles=OPERATORS, icon="price"),
    Place(title="Margins", path="/operator/margins", roles=OPERATORS, icon="chart"),
    Place(title="Energy", path="/operator/energy", roles=OPERATORS, icon="energy"),
    Place(title="Audit", path="/operator/audit", roles=OPERATORS, icon="audit"),
)


def places_for(role: Role) -> list[Place]:
    return [place for place in PLACES if place.exists and role in place.roles]


def home_of(role: Role) -> str:
    return places_for(role)[0].path


def current_place(role: Role, path: str) -> Place | None:
    """Return the entry that a page belongs to: the longest that its path begins with."""
    within = [
        place
        for place in places_for(role)
        if path == place.path or path.startswith(f"{place.path.rstrip('/')}/")
    ]
    return max(within, key=lambda place: len(place.path), default=None)
