"""Names of things that cross module borders, and how new ones are made."""

import secrets
from typing import Final, NewType

TenantId = NewType("TenantId", str)
KeyId = NewType("KeyId", str)
BindingId = NewType("BindingId", str)
JobId = NewType("JobId", str)
ImageId = NewType("ImageId", str)
SessionId = NewType("SessionId", str)
GpuId = NewType("GpuId", str)
PriceId = NewType("PriceId", str)
CostId = NewType("CostId", str)

# Operators' keys and requests are stored under this name; no tenant can take it.
OPERATOR_TENANT_ID: Final = TenantId("operator")

# What the contract admits as a tenant's name; also a label of DNS, and a folder's name.
TENANT_ID_PATTERN: Final = "[a-z][a-z0-9-]{1,30}"

# Lower-case base 32 without the letters and digits people mistake for one another (Crockford's).
_ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
# 20 characters of 5 bits: 100 random bits, so ids need no coordination and tell nobody how many.
_ID_LENGTH: Final = 20
# With "gpu-" 15 bytes, the most that the path of a socket leaves for it.
_GPU_DIGITS: Final = 11


def gpu_id_of(device_uuid: str) -> GpuId:
    """Name a card by its driver's unique name, such as "GPU-5a…", alike on every host.

    44 of its bits: two of a thousand cards are named alike once in 35 million installations.
    """
    digits = device_uuid.upper().removeprefix("GPU-").removeprefix("MIG-").replace("-", "")
    return GpuId(f"gpu-{digits[:_GPU_DIGITS].lower()}")


def new_resource_id() -> str:
    """Return a fresh random id for a job, an image or a price version: 20 characters, 100 bits."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
