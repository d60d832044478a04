"""Which contract this library was made from, as one hash, to compare with a server's."""

import hashlib
import importlib
import pkgutil
from functools import cache
from typing import cast

from google.protobuf.descriptor import FileDescriptor

from atelier import v1


@cache
def contract_sha256() -> str:
    """Hash every file of the contract, sorted by name, without comments and rules."""
    digest = hashlib.sha256()
    for module in sorted(module.name for module in pkgutil.iter_modules(v1.__path__)):
        if module.endswith("_pb2"):
            loaded = importlib.import_module(f"{v1.__name__}.{module}")
            digest.update(cast("FileDescriptor", loaded.DESCRIPTOR).serialized_pb)
    return digest.hexdigest()
