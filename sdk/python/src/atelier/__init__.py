"""Order pictures from an Atelier installation: `atelier.Client`, `atelier.AsyncClient`.

The messages are those of the contract, in `atelier.v1`; the ones needed most stand here too. The
clients are loaded at their first use, so that servers can import the contract alone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atelier.async_client import AsyncClient as AsyncClient
    from atelier.async_client import AsyncJobHandle as AsyncJobHandle
    from atelier.client import Client as Client
    from atelier.client import JobHandle as JobHandle
    from atelier.errors import AtelierError as AtelierError
    from atelier.errors import CallError as CallError
    from atelier.money import money as money
    from atelier.pictures import ImagesFailedError as ImagesFailedError
    from atelier.pictures import Picture as Picture
    from atelier.retries import RetryPolicy as RetryPolicy
    from atelier.v1.image_pb2 import ImageSpec as ImageSpec
    from atelier.v1.image_pb2 import OutputFormat as OutputFormat
    from atelier.v1.image_pb2 import Tier as Tier
    from atelier.v1.job_service_pb2 import JobSpec as JobSpec

_MODULES = {
    "AsyncClient": "atelier.async_client",
    "AsyncJobHandle": "atelier.async_client",
    "AtelierError": "atelier.errors",
    "CallError": "atelier.errors",
    "Client": "atelier.client",
    "ImageSpec": "atelier.v1.image_pb2",
    "ImagesFailedError": "atelier.pictures",
    "JobHandle": "atelier.client",
    "JobSpec": "atelier.v1.job_service_pb2",
    "OutputFormat": "atelier.v1.image_pb2",
    "Picture": "atelier.pictures",
    "RetryPolicy": "atelier.retries",
    "Tier": "atelier.v1.image_pb2",
    "money": "atelier.money",
}


def __getattr__(name: str) -> object:
    """Load what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - most importers never come here

    found: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
