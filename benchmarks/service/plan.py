"""What `service_on_gpu.py` orders, and the installation and models that it orders from."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from atelier.v1.image_pb2 import ImageSpec
from services.engine.random_checkpoint import SMALLEST_SHAPE, WORDS
from services.engine.small_model import SmallModelShape, build_small_model, save_small_model
from services.standalone.settings import Settings

SHIPPED: Final = Path(__file__).resolve().parents[2] / "deploy" / "models" / "atelier-mini"
# The transformer and the VAE are Large's; the text encoders have its widths and two layers.
LARGE_SHAPE: Final = SmallModelShape(
    layers=38,
    heads=38,
    clip_l_width=768,
    clip_g_width=1280,
    t5_width=4096,
    vae_channels=(128, 256, 512, 512),
    vae_layers_per_block=2,
    vae_norm_groups=32,
    default_size=1024,
    size_max=1536,
    timestep_shift=3.0,
)
BATCH_SLOTS: Final = 4
CATALOGUE: Final = """\
[{name}]
display_name = "{name}"
source = "{source}"
precision = "fp8"
width = {{ min = 64, max = 1024, default = {size} }}
height = {{ min = 64, max = 1024, default = {size} }}
pixels_max = 1048576
num_inference_steps = {{ min = 1, max = 50, default = {steps} }}
guidance_scale = {{ min = 0.0, max = 15.0, default = 7.0 }}
max_sequence_length = {{ min = 16, max = 256, default = 77 }}
batch_slots = {slots}
interactive_slots = 1

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    shape: SmallModelShape
    size: int
    steps: int
    large_images: int
    steady_images: int
    small_images: int
    # So many that progress is told before the last is drawn.
    killed_images: int
    pace_seconds: float
    pace_window_seconds: float
    use_gpus: bool

    @property
    def large(self) -> ImageSpec:
        return self._spec("large", size=self.size, steps=self.steps)

    @property
    def long(self) -> ImageSpec:
        """So long that it is met in the middle."""
        return self._spec("large", size=self.size if self.use_gpus else 256, steps=50)

    @property
    def small(self) -> ImageSpec:
        return self._spec("small", size=256 if self.use_gpus else 64, steps=20)

    def _spec(self, model: str, *, size: int, steps: int) -> ImageSpec:
        return ImageSpec(
            model=f"models/{model}",
            prompt="a photo of a red mug on a white background",
            width=size,
            height=size,
            num_inference_steps=steps,
        )


ON_CARD: Final = Plan(
    shape=LARGE_SHAPE,
    size=1024,
    steps=28,
    large_images=8,
    steady_images=24,
    small_images=100,
    killed_images=1,
    pace_seconds=120.0,
    pace_window_seconds=5.0,
    use_gpus=True,
)
REHEARSAL: Final = Plan(
    shape=SMALLEST_SHAPE,
    size=64,
    steps=8,
    large_images=8,
    steady_images=12,
    small_images=10,
    killed_images=40,
    pace_seconds=12.0,
    pace_window_seconds=2.0,
    use_gpus=False,
)


def make_large(plan: Plan, folder: Path) -> float:
    """Random weights, made on the card where there is one and kept as bfloat16."""
    began = time.monotonic()
    device = "cuda" if plan.use_gpus else "cpu"
    dtype = torch.get_default_dtype()
    torch.manual_seed(35)  # pyright: ignore[reportUnknownMemberType] - torch is half typed
    torch.set_default_dtype(torch.bfloat16 if plan.use_gpus else dtype)
    try:
        with torch.device(device):
            pipeline = build_small_model(plan.shape, words=WORDS)
    finally:
        torch.set_default_dtype(dtype)
    save_small_model(pipeline, folder)
    folder.chmod(0o755)
    del pipeline
    if plan.use_gpus:
        torch.cuda.empty_cache()
    return round(time.monotonic() - began, 1)


def make_settings(plan: Plan, folder: Path) -> Settings:
    """One device, both models, short turns, so that the card changes hands within minutes."""
    entry = {"size": plan.size, "steps": plan.steps, "slots": BATCH_SLOTS}
    (folder / "models.toml").write_text(
        CATALOGUE.format(name="large", source=folder / "large", **entry)
        + CATALOGUE.format(name="small", source=SHIPPED, **entry)
    )
    return Settings(
        data_directory=folder / "data",
        port=0,
        model_catalogue_path=folder / "models.toml",
        cpu_device_count=1,
        use_gpus=plan.use_gpus,
        dwell_seconds_min=1.0,
        dwell_per_cold_start=0.1,
    )
