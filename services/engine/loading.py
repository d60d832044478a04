"""From a folder or hub name in diffusers format to a model that can be served."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import diffusers
import torch
import transformers
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedTokenizerBase

from services.engine.encoder_placement import place_encoder
from services.engine.errors import DamagedModelError, ModelNotFoundError, WrongArchitectureError
from services.engine.library_noise import silence_libraries
from services.engine.marks import MarkKind, MarkSink, MarkWriter
from services.engine.mmdit.arithmetic import Arithmetic
from services.engine.mmdit.mmdit import Mmdit
from services.engine.mmdit.steps import Steps, make_steps
from services.engine.picture_tiles import decode_in_tiles
from services.engine.residence import Residence
from services.engine.weight_hashes import check_hashes

PIPELINE: Final = "StableDiffusion3Pipeline"
# Component → the class it must be. T5 may be left out, as in diffusers.
TOKENIZERS: Final = {
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
}
WEIGHTS: Final = {
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModelWithProjection",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "text_encoder_3": ("T5EncoderModel",),
}
OPTIONAL: Final = ("text_encoder_3", "tokenizer_3")
PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """The parts of one Stable Diffusion 3.5, on their device, in inference mode."""

    name: str
    device: torch.device
    dtype: torch.dtype
    transformer: Mmdit
    steps: Steps
    vae: AutoencoderKL
    scheduler: FlowMatchEulerDiscreteScheduler
    clip_encoders: tuple[torch.nn.Module, ...]
    """CLIP-L and CLIP-G; none where embeddings are always given."""
    clip_tokenizers: tuple[PreTrainedTokenizerBase, ...]
    t5_encoder: torch.nn.Module | None
    t5_tokenizer: PreTrainedTokenizerBase | None
    last_mark_number: int
    """Of the mark of the loading; the engine goes on counting from here."""

    @property
    def vae_scale(self) -> int:
        """Pixels per latent, 8 for the real models."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    @property
    def size_multiple(self) -> int:
        """What width and height must be divisible by, in pixels."""
        return self.vae_scale * int(self.transformer.config["patch_size"])


def load_model(
    path_or_hub_name: str,
    *,
    device: torch.device | str,
    dtype: torch.dtype | str,
    marks: MarkSink,
    arithmetic: Arithmetic | None = None,
    text_encoders: Residence = Residence.RESIDENT,
    tiled_decoding: bool = False,
) -> LoadedModel:
    """Load any Stable Diffusion 3.5; raises a `ModelLoadError` that says what to mend.

    `dtype` may be a name such as "bfloat16". Weights are read from safetensors alone, since a
    pickle runs whatever its author wrote into it.
    """
    silence_libraries()
    device = torch.device(device)
    writer = MarkWriter(marks, finish_device_work=device_work_finisher(device))
    with writer.mark(MarkKind.LOAD):
        folder = find_folder(path_or_hub_name)
        index = check_folder(folder)
        check_hashes(folder)
        parts = _load_parts(
            folder, index, device=device, dtype=parse_dtype(dtype), text_encoders=text_encoders
        )
        quicken_decoder(parts["vae"], device)
        transformer = Mmdit(
            parts["transformer"],
            device=device,
            dtype=parse_dtype(dtype),
            arithmetic=arithmetic or Arithmetic(),
        )
        if tiled_decoding:
            decode_in_tiles(parts["vae"])
    return LoadedModel(
        name=path_or_hub_name,
        device=device,
        dtype=parse_dtype(dtype),
        transformer=transformer,
        steps=make_steps(transformer),
        vae=parts["vae"],
        scheduler=_load_scheduler(folder),
        clip_encoders=(parts["text_encoder"], parts["text_encoder_2"]),
        clip_tokenizers=(parts["tokenizer"], parts["tokenizer_2"]),
        t5_encoder=parts["text_encoder_3"],
        t5_tokenizer=parts["tokenizer_3"],
        last_mark_number=writer.last_number,
    )


def parse_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A torch floating-point type, also by its name."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"{dtype!r} is no floating-point type of torch; use float32 or bfloat16")
    return found


def device_work_finisher(device: torch.device) -> Callable[[], None]:
    """What waits until the device has done all that was asked of it."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def find_folder(path_or_hub_name: str) -> Path:
    """The local folder, fetched from the hub if need be (and allowed)."""
    folder = Path(path_or_hub_name).expanduser()
    if folder.is_dir():
        return folder
    if not _looks_like_a_hub_name(path_or_hub_name):
        raise ModelNotFoundError(f"there is no folder {folder}: name one in diffusers format")
    try:
        return Path(StableDiffusion3Pipeline.download(path_or_hub_name, use_safetensors=True))
    except Exception as error:
        raise ModelNotFoundError(
            f"{path_or_hub_name} is neither a folder nor a model of the hub that can be reached:"
            f" download it and give its folder, or log in to the hub ({type(error).__name__})"
        ) from error


def _looks_like_a_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def check_folder(folder: Path) -> Mapping[str, object]:
    """Read the folder's index and check that every part is there, whole and of the right kind."""
    index = _read_json(folder / "model_index.json")
    if index.get("_class_name") != PIPELINE:
        raise WrongArchitectureError(
            f"{folder} holds a {index.get('_class_name')}, not a {PIPELINE}:"
            " give a Stable Diffusion 3.5 in diffusers format"
        )
    for component, classes in {**TOKENIZERS, **WEIGHTS}.items():
        _check_class(folder, component, index.get(component), classes)
    for component in WEIGHTS:
        if _is_there(index, component):
            check_weights(folder / component)
    return index


def _check_class(folder: Path, component: str, entry: object, classes: tuple[str, ...]) -> None:
    found = entry[1] if isinstance(entry, list) and len(entry) == 2 else None  # noqa: PLR2004
    if found is None and component in OPTIONAL:
        return
    if found not in classes:
        raise WrongArchitectureError(
            f"{folder / 'model_index.json'} says that {component} is {found}, it must be"
            f" {classes[0]}"
        )
    if not (folder / component).is_dir():
        raise DamagedModelError(f"{folder / component} is missing: copy the model again")


def _is_there(index: Mapping[str, object], component: str) -> bool:
    entry = index.get(component)
    return isinstance(entry, list) and entry[0] is not None


def check_weights(folder: Path) -> None:
    """Open every safetensors file of one part; their headers tell whether they are whole."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = any(path.suffix in PICKLED for path in folder.iterdir())
        reason = "only pickled weights, which could run code" if pickled else "no weights"
        raise DamagedModelError(f"{folder} holds {reason}: it must hold .safetensors files")
    for path in files:
        try:
            with safe_open(path, framework="pt") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise DamagedModelError(f"{path} is damaged ({error}): copy it again") from error


def quicken_decoder(vae: AutoencoderKL, device: torch.device) -> None:
    """Channels last, and on a GPU the fused norms; it draws the same up to rounding."""
    # Convolutions take an eighth less time in this order on a CPU; the fused norms demand it.
    cast("Any", vae).to(memory_format=torch.channels_last)
    if device.type != "cuda":
        return
    # Imported here, for torch's CPU build comes without Triton.
    from services.engine.vae.fused_norms import fuse_decoder_norms  # noqa: PLC0415

    fuse_decoder_norms(vae)


def _load_parts(
    folder: Path,
    index: Mapping[str, object],
    *,
    device: torch.device,
    dtype: torch.dtype,
    text_encoders: Residence,
) -> dict[str, Any]:
    parts: dict[str, Any] = dict.fromkeys((*TOKENIZERS, *WEIGHTS))
    for component in TOKENIZERS:
        if _is_there(index, component):
            parts[component] = _load_tokenizer(folder, index, component)
    for component in WEIGHTS:
        if _is_there(index, component):
            loaded = _load_weights(folder, component, dtype=dtype)
            if component.startswith("text_encoder"):
                loaded = place_encoder(loaded, device, text_encoders)
            elif component != "transformer":
                loaded = loaded.to(device)
            # The transformer goes to the device block by block, in the form it computes in.
            parts[component] = loaded
    return parts


def _load_tokenizer(folder: Path, index: Mapping[str, object], component: str) -> object:
    tokenizer_class = getattr(transformers, cast("list[str]", index[component])[1])
    try:
        return tokenizer_class.from_pretrained(folder / component, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise DamagedModelError(
            f"{folder / component} cannot be read as a tokenizer: {error}"
        ) from error


def _load_weights(folder: Path, component: str, *, dtype: torch.dtype) -> torch.nn.Module:
    name = WEIGHTS[component][0]
    part_class = getattr(diffusers, name, None) or getattr(transformers, name)
    # The two libraries call the same thing by different names.
    type_argument = {("torch_dtype" if hasattr(diffusers, name) else "dtype"): dtype}
    try:
        part, report = part_class.from_pretrained(
            folder / component,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **type_argument,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedModelError(f"{folder / component} cannot be loaded: {error}") from error
    # Both libraries fill what the files lack with random numbers and only warn.
    if lacking := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise DamagedModelError(
            f"the files in {folder / component} lack {len(lacking)} weights of a {name},"
            f" {lacking[0]} for one: copy the model again"
        )
    return part.eval().requires_grad_(False)  # noqa: FBT003  torch's own signature


def _load_scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler:
    config = _read_json(folder / "scheduler" / "scheduler_config.json")
    if config.get("_class_name") != "FlowMatchEulerDiscreteScheduler":
        raise WrongArchitectureError(
            f"{folder / 'scheduler'} holds a {config.get('_class_name')}; Stable Diffusion 3.5 is"
            " drawn with FlowMatchEulerDiscreteScheduler"
        )
    if config.get("stochastic_sampling"):
        raise WrongArchitectureError(
            f"{folder / 'scheduler'} asks for stochastic_sampling: set it to false"
        )
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    assert isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    return scheduler


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DamagedModelError(f"{path} is missing: give a folder in diffusers format") from error
    except (OSError, ValueError) as error:
        raise DamagedModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DamagedModelError(f"{path} must hold a JSON object")
    return content
