"""Which device draws, and with which numbers: the policy per kind of device."""

from dataclasses import dataclass

import torch

from services.engine.errors import ModelLoadError


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingDevice:
    """A device and the floating-point type that suits it, as torch names them."""

    device: str
    dtype: str
    precision: str
    """As receipts tell it, such as "fp32 cpu"."""


def choose_device(wish: str) -> DrawingDevice:
    """Resolve a device by its torch name, or "auto": the GPU where there is one, else the CPU.

    Raises:
        ModelLoadError: a GPU is wished for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if wish.startswith("cuda") and not has_gpu:
        raise ModelLoadError(f"device {wish!r} is set but torch sees no GPU; use auto or cpu")
    if wish == "cpu" or not has_gpu:
        return DrawingDevice(device="cpu", dtype="float32", precision="fp32 cpu")
    device = "cuda" if wish == "auto" else wish
    name = torch.cuda.get_device_name(torch.device(device))
    return DrawingDevice(device=device, dtype="bfloat16", precision=f"bf16 {name}")


def set_threads(count: int) -> None:
    """Bound the threads torch computes with on the CPU, in the whole process."""
    torch.set_num_threads(count)
