"""The memory plan for the device at hand, and the bound that keeps torch to it."""

from dataclasses import dataclass
from typing import Final

import torch

from services.engine.devices import DrawingDevice
from services.engine.loading import check_folder, find_folder, parse_dtype
from services.engine.memory_plan import CONTEXT_BYTES, MemoryPlan, PlanRequest, make_plan
from services.engine.model_outline import read_outline
from services.engine.residence import Residence

AUTO: Final = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWish:
    """What the operator set."""

    reserve_bytes: int
    memory_bytes: int | None = None
    """Of the whole device, as if it had no more; None: what it has."""
    text_encoders: str = AUTO
    """resident, offloaded, or auto: resident where the batch does not suffer."""


def plan_for_device(
    path_or_hub_name: str, device: DrawingDevice, wish: MemoryWish, *, images_wished: int
) -> MemoryPlan | None:
    """None on a CPU without a bound: its memory is shared, and what is free now says little.

    Raises:
        ModelLoadError: the model cannot be served, or does not fit; says what to mend.
    """
    free_bytes = find_free_bytes(torch.device(device.device), wish)
    if free_bytes is None:
        return None
    folder = find_folder(path_or_hub_name)
    check_folder(folder)
    request = PlanRequest(
        outline=read_outline(folder),
        free_bytes=free_bytes,
        backend=device.arithmetic.backend,
        weight_bytes=parse_dtype(device.dtype).itemsize,
        reserve_bytes=wish.reserve_bytes,
        text_encoders=None if wish.text_encoders == AUTO else Residence(wish.text_encoders),
        modulation=Residence(device.arithmetic.modulation),
        images_wished=images_wished,
    )
    return make_plan(request)


def find_free_bytes(device: torch.device, wish: MemoryWish) -> int | None:
    """What the model may use, the driver's own part already taken off."""
    bound_bytes = None if wish.memory_bytes is None else wish.memory_bytes - CONTEXT_BYTES
    if device.type != "cuda":
        return bound_bytes
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    if bound_bytes is None:
        return free_bytes
    # Torch then refuses what goes beyond, so that the bound is tried as a smaller card would be.
    torch.cuda.set_per_process_memory_fraction(min(1.0, bound_bytes / total_bytes), device)
    return min(free_bytes, bound_bytes)
