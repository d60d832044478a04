"""Resource names from what people type: an id where the rest is clear, or the whole name."""

# In a name it stands for the tenant of the key.
OWN_TENANT = "-"
# In a name it stands for everything of its kind.
ALL = "-"


def tenant_name(tenant: str = OWN_TENANT) -> str:
    """Write `tenants/{tenant}`."""
    return tenant if tenant.startswith("tenants/") else f"tenants/{tenant}"


def child_name(collection: str, name_or_id: str, *, tenant: str = OWN_TENANT) -> str:
    """Write `tenants/{tenant}/{collection}/{id}`; a whole name is left as it is."""
    if "/" in name_or_id:
        return name_or_id
    return f"{tenant_name(tenant)}/{collection}/{name_or_id}"


def top_name(collection: str, name_or_id: str) -> str:
    """Write `{collection}/{id}`; empty stays empty, a whole name is left as it is."""
    if not name_or_id or "/" in name_or_id:
        return name_or_id
    return f"{collection}/{name_or_id}"


def last_id(name: str) -> str:
    """Take the last id of a name: what people call the thing."""
    return name.rpartition("/")[2]


def tenant_of(name: str) -> str:
    """Take the tenant's id from a name."""
    return name.split("/")[1]
