"""Attention over a joint [images, tokens, 3, heads, channels], by the kernel for the device."""

from enum import StrEnum
from importlib import import_module
from typing import Final

import structlog
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from services.engine.errors import ModelLoadError
from services.engine.mmdit.backends import ComputeCapability

AUTO: Final = "auto"
HOPPER: Final = 9
_FLASH_4_PACKAGE: Final = "flash_attn.cute"

log = structlog.get_logger()


class AttentionKernel(StrEnum):
    """Which implementation runs; all give the same up to rounding."""

    TORCH = "torch"
    """Whichever torch picks."""
    CUDNN = "cudnn"
    """The fastest that ships with torch on Hopper: 408 TFLOP/s (docs/performance.md)."""
    FLASH = "flash"
    FLASH_4 = "flash_4"
    """The package flash-attn-4, compiled for the card at the first call: 537 TFLOP/s on Hopper."""


SDP_BACKENDS: Final = {
    AttentionKernel.CUDNN: SDPBackend.CUDNN_ATTENTION,
    AttentionKernel.FLASH: SDPBackend.FLASH_ATTENTION,
}


def choose_attention(
    wish: str, *, capability: ComputeCapability | None, has_flash_4: bool
) -> AttentionKernel:
    """Resolve a kernel by its name, or "auto" by the kind of device.

    Raises:
        ModelLoadError: the name is unknown, or the device or the installation lacks what it needs.
    """
    can_flash_4 = has_flash_4 and capability is not None and capability.major >= HOPPER
    if wish == AUTO:
        if capability is None:
            return AttentionKernel.TORCH
        return AttentionKernel.FLASH_4 if can_flash_4 else AttentionKernel.TORCH
    try:
        kernel = AttentionKernel(wish)
    except ValueError:
        names = ", ".join((AUTO, *AttentionKernel))
        raise ModelLoadError(f"there is no attention {wish!r}: set one of {names}") from None
    if kernel is AttentionKernel.FLASH_4 and not can_flash_4:
        raise ModelLoadError(
            "the attention flash_4 needs the package flash-attn-4 and a GPU of compute capability"
            " 9.0 or newer: install atelier-servers[worker-gpu], or set the attention auto"
        )
    if kernel is not AttentionKernel.TORCH and capability is None:
        raise ModelLoadError(f"the attention {kernel} needs a GPU: set the attention auto")
    return kernel


def has_flash_4() -> bool:
    """Whether the package is there and whole; where it is, asking takes the seconds it loads in.

    Half an installation must not let each image fail at its first step, so it is really imported.
    """
    try:
        import_module(_FLASH_4_PACKAGE)
    except ImportError as error:
        if error.name not in {_FLASH_4_PACKAGE, "flash_attn"}:
            log.warning("flash_attn_4_cannot_be_loaded", reason=str(error))
        return False
    return True


def attend(joint: torch.Tensor, kernel: AttentionKernel, *, asking: int) -> torch.Tensor:
    """The first `asking` tokens over all tokens of their image → [images, asking, width]."""
    if kernel is AttentionKernel.FLASH_4:
        return flash_4(joint, asking=asking).flatten(2)
    query, key, value = joint.permute(2, 0, 3, 1, 4).unbind()
    query = query[:, :, :asking]
    if kernel is AttentionKernel.TORCH:
        attended = scaled_dot_product_attention(query, key, value)
    else:
        with sdpa_kernel(SDP_BACKENDS[kernel]):
            attended = scaled_dot_product_attention(query, key, value)
    return attended.transpose(1, 2).flatten(2)


def flash_4(joint: torch.Tensor, *, asking: int) -> torch.Tensor:
    """→ [images, asking, heads, channels]."""
    # Imported here: it is installed on GPU hosts alone.
    from flash_attn.cute import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        flash_attn_func,
    )

    query, key, value = joint.unbind(2)
    attended = flash_attn_func(query[:, :asking], key, value)
    return attended[0] if isinstance(attended, tuple) else attended
