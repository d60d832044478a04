"""What every group of calls stands on."""

import uuid
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.connection import Connection
from atelier.names import OWN_TENANT, child_name, tenant_name


class Calls:
    """A connection, and the tenant that names without one mean."""

    def __init__(self, connection: Connection, *, tenant: str = OWN_TENANT) -> None:
        self._connection = connection
        self._tenant = tenant

    def _parent(self) -> str:
        return tenant_name(self._tenant)

    def _name(self, collection: str, name_or_id: str) -> str:
        return child_name(collection, name_or_id, tenant=self._tenant)


def new_request_id(given: str | None = None) -> str:
    """Return the given request id, or a fresh one: each wish has one, however often it is sent."""
    return given or str(uuid.uuid4())


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Write a moment for the wire.

    Raises:
        ValueError: it has no time zone, so nobody knows which moment it is.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    written = Timestamp()
    written.FromDatetime(moment)
    return written
