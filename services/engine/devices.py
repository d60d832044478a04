"""Which device draws, with which numbers and which arithmetic: the policy per kind of device."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

import torch

from services.engine.errors import ModelLoadError
from services.engine.mmdit.arithmetic import Arithmetic, ModulationPlace
from services.engine.mmdit.attention import choose_attention, has_flash_4
from services.engine.mmdit.backends import Backend, ComputeCapability, choose_backend
from services.engine.mmdit.linears.transformer_engine import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticWish:
    """What the operator set; each by its name, "auto" leaves it to the device's kind."""

    backend: str = "auto"
    fp8_recipe: str = Recipe.CURRENT.value
    attention: str = "auto"
    modulation: str = ModulationPlace.RESIDENT.value


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingDevice:
    """A device, the floating-point type that suits it as torch names it, and its arithmetic."""

    device: str
    dtype: str
    precision: str
    """As receipts tell it, such as "fp32 cpu" or "fp8 scaled_mm NVIDIA H200"."""
    arithmetic: Arithmetic


def device_uuid(device: str) -> str:
    """Return what the driver calls a GPU, on whatever host.

    Raises:
        ModelLoadError: it is none.
    """
    if not device.startswith("cuda"):
        raise ModelLoadError("gpu_id: set it; only a GPU can be named by its UUID")
    return str(torch.cuda.get_device_properties(torch.device(device)).uuid)


def choose_device(wish: str, arithmetic: ArithmeticWish | None = None) -> DrawingDevice:
    """Resolve a device by its torch name, or "auto": the GPU where there is one, else the CPU.

    Raises:
        ModelLoadError: a GPU is wished for and there is none, or it lacks what is wished of it.
    """
    wished = arithmetic or ArithmeticWish()
    has_gpu = torch.cuda.is_available()
    if wish.startswith("cuda") and not has_gpu:
        raise ModelLoadError(f"device {wish!r} is set but torch sees no GPU; use auto or cpu")
    if wish == "cpu" or not has_gpu:
        chosen = choose_arithmetic(wished, capability=None)
        return DrawingDevice(
            device="cpu",
            dtype="float32",
            precision=describe_precision(chosen.backend, own="fp32", device="cpu"),
            arithmetic=chosen,
        )
    device = torch.device("cuda" if wish == "auto" else wish)
    chosen = choose_arithmetic(wished, capability=compute_capability(device))
    name = torch.cuda.get_device_name(device)
    return DrawingDevice(
        device=str(device),
        dtype="bfloat16",
        precision=describe_precision(chosen.backend, own="bf16", device=name),
        arithmetic=chosen,
    )


def compute_capability(device: torch.device) -> ComputeCapability | None:
    """None on the CPU."""
    if device.type != "cuda":
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return ComputeCapability(major=major, minor=minor)


def choose_arithmetic(wish: ArithmeticWish, *, capability: ComputeCapability | None) -> Arithmetic:
    """The backend, attention and the rest for one kind of device; None is the CPU.

    Raises:
        ModelLoadError: something wished for is unknown, or not to be had there.
    """
    return Arithmetic(
        backend=choose_backend(
            wish.backend,
            capability=capability,
            has_transformer_engine=find_spec("transformer_engine") is not None,
        ),
        recipe=_one_of(Recipe, wish.fp8_recipe, what="FP8 recipe"),
        attention_kernel=choose_attention(
            wish.attention, capability=capability, has_flash_4=has_flash_4()
        ),
        modulation=_one_of(ModulationPlace, wish.modulation, what="place for the modulation"),
    )


Choice = TypeVar("Choice", Recipe, ModulationPlace)


def _one_of(choices: type[Choice], name: str, *, what: str) -> Choice:
    try:
        return choices(name)
    except ValueError:
        names = ", ".join(choices)
        raise ModelLoadError(f"there is no {what} {name!r}: set one of {names}") from None


def describe_precision(backend: Backend, *, own: str, device: str) -> str:
    """What receipts and ModelService call it."""
    match backend:
        case Backend.NONE:
            return f"{own} {device}"
        case Backend.WEIGHT_STORAGE:
            return f"fp8 weights, {own} {device}"
        case Backend.SCALED_MM | Backend.TRANSFORMER_ENGINE:
            return f"fp8 {backend} {device}"


def set_threads(count: int) -> None:
    """Bound the threads torch computes with on the CPU, in the whole process."""
    torch.set_num_threads(count)
