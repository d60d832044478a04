"""How many images a device can step at once, from numbers alone.

At no moment does the device hold more than

    weights + remembered embeddings + workspace
    + the larger of (activations of the images of a step, one picture's decoding)

and what is left of its free memory must not fall below the reserve. The factors of activations and
decoding are fitted to two peaks of plain diffusers on an H200 (Large, bf16, 1024², with guidance,
embeddings given: 18.1 GiB for one image, 23.8 GiB for four that were decoded at once), the
workspace to two of the engine on an H100; tests hold the plan against all four.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.engine.errors import ModelTooLargeError, UnknownBackendError
from services.engine.image_spec import CompatibilityKey
from services.engine.model_outline import ModelOutline
from services.engine.picture_tiles import TILE_SIZE
from services.engine.residence import Residence
from services.engine.text_encoding import CLIP_TOKENS, EMBEDDING_BYTES_MAX

GIB: Final = 2**30
GB: Final = 10**9
MEMORY_RESERVE_BYTES: Final = 2_500_000_000
# What the driver takes for itself before the first tensor (measured on an H100: 0.65 GB); free
# memory no longer contains it.
CONTEXT_BYTES: Final = 650_000_000
# Scratch space of convolutions and matrix products, captured steps, and what the allocator cannot
# hand out again. With it the plan came 2 % above two peaks on an H100 (benchmarks/memory_on_gpu.py:
# Large in FP8, 1024²: 9.54 GB for two images, 16.01 GB for four); it must never lie below.
WORKSPACE_BYTES: Final = 1_750 * 2**20
# The widest moment of a decoder: so many planes of its last level's channels at full size.
DECODE_PLANES: Final = 7.6
# The widest moment of a block: residual, norm, q k v twice (joined), attention, feed-forward.
ACTIVATION_ROWS: Final = 14
# Modulation is kept for every step of an image; more steps than the catalogue admits.
MODULATED_STEPS: Final = 50
# Backend → bytes per weight of the blocks' linears; None: as the others.
BLOCK_WEIGHT_BYTES: Final[dict[str, int | None]] = {
    "none": None,
    "scaled_mm": 1,
    "transformer_engine": 1,
    "weight_storage": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a plan depends on."""

    outline: ModelOutline
    free_bytes: int
    """Of the device, before any weight is on it."""
    backend: str = "none"
    weight_bytes: int = 2
    """Of the arithmetic's floating-point type."""
    reserve_bytes: int = MEMORY_RESERVE_BYTES
    text_encoders: Residence | None = None
    """None: resident if that does not make the batch smaller than wished."""
    modulation: Residence = Residence.RESIDENT
    images_wished: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """A decision and its estimate, part by part, in bytes."""

    request: PlanRequest
    text_encoders: Residence
    tiled_decoding: bool
    transformer_bytes: int
    encoders_bytes: int
    vae_bytes: int

    @property
    def weights_bytes(self) -> int:
        return self.transformer_bytes + self.encoders_bytes + self.vae_bytes

    @property
    def usable_bytes(self) -> int:
        """What steps and decoding may take besides the weights; may be negative."""
        kept = self.request.reserve_bytes + WORKSPACE_BYTES + EMBEDDING_BYTES_MAX
        return self.request.free_bytes - kept - self.weights_bytes

    def decode_bytes(self, key: CompatibilityKey) -> int:
        """One picture's VAE slice."""
        pixels = key.width * key.height
        if self.tiled_decoding:
            pixels = min(pixels, TILE_SIZE * TILE_SIZE)
        plane = pixels * self.request.outline.vae_channels * self.request.weight_bytes
        return round(DECODE_PLANES * plane)

    def image_bytes(self, key: CompatibilityKey) -> int:
        """What one more image adds to a step."""
        outline, forwards = self.request.outline, 2 if key.is_guided else 1
        picture_tokens = (key.width // outline.patch_pixels) * (key.height // outline.patch_pixels)
        text_tokens = CLIP_TOKENS + key.max_sequence_length
        activations = ACTIVATION_ROWS * outline.width * (picture_tokens + text_tokens)
        modulation = MODULATED_STEPS * outline.modulation_parameters // outline.width
        embedding = text_tokens * outline.text_channels
        return forwards * self.request.weight_bytes * (activations + modulation + embedding)

    def images_max(self, key: CompatibilityKey) -> int:
        """The largest number of images in one step; 0: not even one."""
        if self.decode_bytes(key) > self.usable_bytes:
            return 0
        return max(0, self.usable_bytes // self.image_bytes(key))

    def peak_bytes(self, key: CompatibilityKey, *, images: int, decoded_together: int = 1) -> int:
        """The most that lies on the device at once."""
        step = images * self.image_bytes(key)
        decoding = decoded_together * self.decode_bytes(key)
        return self.weights_bytes + EMBEDDING_BYTES_MAX + WORKSPACE_BYTES + max(step, decoding)


def native_key(outline: ModelOutline) -> CompatibilityKey:
    """What plans are made for: the size the model was made for, guided, with a long prompt."""
    size = outline.native_size
    return CompatibilityKey(size, size, max_sequence_length=256, is_guided=True)


def make_plan(request: PlanRequest, key: CompatibilityKey | None = None) -> MemoryPlan:
    """The first way of keeping the model that admits the wished batch, else the roomiest.

    Raises:
        ModelTooLargeError: not even one image fits beside the weights; says what would help.
        UnknownBackendError: names those there are.
    """
    key = key or native_key(request.outline)
    plans = list(_ways(request))
    for plan in plans:
        if plan.images_max(key) >= request.images_wished:
            return plan
    roomiest = max(plans, key=lambda plan: plan.images_max(key))
    if roomiest.images_max(key) == 0:
        raise ModelTooLargeError(_too_large(plans[-1], key))
    return roomiest


def _ways(request: PlanRequest) -> Iterator[MemoryPlan]:
    """From the quickest to the most frugal."""
    residences = [request.text_encoders] if request.text_encoders else list(Residence)
    for tiled_decoding in (False, True):
        for residence in residences:
            yield _lay_out(request, residence, tiled_decoding=tiled_decoding)


def _lay_out(request: PlanRequest, residence: Residence, *, tiled_decoding: bool) -> MemoryPlan:
    outline = request.outline
    on_device = (
        outline.encoder_parameters
        if residence is Residence.RESIDENT
        else outline.encoder_layer_parameters_max
    )
    return MemoryPlan(
        request=request,
        text_encoders=residence,
        tiled_decoding=tiled_decoding,
        transformer_bytes=_transformer_bytes(request),
        encoders_bytes=on_device * request.weight_bytes,
        vae_bytes=outline.vae_parameters * request.weight_bytes,
    )


def _transformer_bytes(request: PlanRequest) -> int:
    outline = request.outline
    if request.backend not in BLOCK_WEIGHT_BYTES:
        raise UnknownBackendError(request.backend, tuple(BLOCK_WEIGHT_BYTES))
    block_weight_bytes = BLOCK_WEIGHT_BYTES[request.backend] or request.weight_bytes
    is_resident = request.modulation is Residence.RESIDENT
    modulation = outline.modulation_parameters if is_resident else 0
    in_full = (modulation + outline.other_parameters) * request.weight_bytes
    return outline.block_parameters * block_weight_bytes + in_full


def _too_large(plan: MemoryPlan, key: CompatibilityKey) -> str:
    request = plan.request
    needed = plan.peak_bytes(key, images=1) + request.reserve_bytes
    advice = ["use a card with more memory"]
    if request.backend == "none":
        advice.append("set backend=weight_storage, which halves the blocks' weights")
    if request.modulation is Residence.RESIDENT:
        advice.append("set modulation=offloaded")
    if request.text_encoders is Residence.RESIDENT:
        advice.append("set text_encoders=offloaded")
    if request.reserve_bytes > GB:
        advice.append("lower memory_reserve_gb")
    return (
        f"{request.outline.name} needs {needed / GB:.1f} GB for one image of"
        f" {key.width}×{key.height} (weights {plan.weights_bytes / GB:.1f}, reserve"
        f" {request.reserve_bytes / GB:.1f}), {request.free_bytes / GB:.1f} GB are free: "
        + ", or ".join(advice)
    )
