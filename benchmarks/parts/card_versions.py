"""The versions that decide the figures of a card."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

import torch

# Some are only there on GPU hosts.
PACKAGES: Final = ("diffusers", "transformers", "transformer-engine", "flash-attn-4", "triton")


def versions() -> dict[str, str]:
    """Of torch, CUDA and what the engine is built on."""
    return {
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        **{package: _version_of(package) for package in PACKAGES},
    }


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
