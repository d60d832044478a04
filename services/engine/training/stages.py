"""The three stages, each resumable: the judge, the VAE, and text encoders with transformer."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file, save_file

from services.engine.small_model import SmallModelShape, build_small_model, save_small_model
from services.engine.training.captioned_latents import caption_latents
from services.engine.training.contact_sheet import save_sheet
from services.engine.training.joint_model import JointModel
from services.engine.training.joint_training import train_jointly
from services.engine.training.judge import Judge, load_judge, save_judge
from services.engine.training.judge_training import train_judge
from services.engine.training.picture_set import PictureSet, make_pictures, to_unit
from services.engine.training.sampling import judge_prompts
from services.engine.training.vae_training import (
    decode,
    encode_all,
    encode_mean,
    set_scaling,
    train_vae,
)
from services.engine.training.vocabulary import all_words, combinations
from services.engine.weight_hashes import write_hashes

SHAPE: Final = SmallModelShape(vae_channels=(24, 48, 96, 96), size_max=384)
SEED: Final = 35
PARTS: Final = {
    "transformer": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "text_encoder_3": "model.safetensors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything; the defaults are those of the checkpoint that ships, on a GPU."""

    shape: SmallModelShape = SHAPE
    pictures: int = 32_000
    vae_batch: int = 64
    vae_seconds: float = 240.0
    judge_pictures: int = 16_000
    judge_batch: int = 256
    judge_seconds: float = 60.0
    joint_batch: int = 256
    joint_seconds: float = 400.0
    judge_every_seconds: float = 45.0
    """Between two looks at held-out prompts while text encoders and transformer are trained."""
    learning_rate: float = 1.2e-3
    held_out: int | None = None
    """Held-out combinations that are drawn and judged; None: all."""
    exams: int = 4

    @property
    def size(self) -> int:
        return self.shape.default_size


ON_GPU: Final = Sizes()
# Hours instead of minutes; smaller batches learn more per picture.
ON_CPU: Final = Sizes(
    pictures=12_000,
    vae_batch=16,
    vae_seconds=2_400.0,
    judge_pictures=4_000,
    judge_batch=32,
    judge_seconds=900.0,
    joint_batch=32,
    joint_seconds=9_000.0,
    judge_every_seconds=1_200.0,
    learning_rate=1e-3,
    exams=1,
)
REHEARSAL: Final = Sizes(
    shape=replace(SHAPE, layers=1, heads=1, default_size=64, size_max=128),
    pictures=48,
    vae_batch=4,
    vae_seconds=4.0,
    judge_pictures=64,
    judge_batch=8,
    judge_seconds=3.0,
    joint_batch=4,
    joint_seconds=5.0,
    held_out=8,
    exams=1,
)


def run_judge(sizes: Sizes, work: Path, device: torch.device) -> None:
    """Train the judge and leave it with its accuracy in the work folder."""
    judge, result = train_judge(
        count=sizes.judge_pictures,
        batch=sizes.judge_batch,
        seconds=sizes.judge_seconds,
        device=device,
        work=work,
    )
    save_judge(judge, work / "judge.safetensors", result)


def run_vae(sizes: Sizes, work: Path, device: torch.device) -> None:
    """Train the VAE and show what it makes of pictures."""
    pipeline: Any = build_small_model(sizes.shape, words=all_words())
    pictures = make_training_pictures(sizes, device, work)
    train_vae(pipeline.vae, pictures, batch=sizes.vae_batch, seconds=sizes.vae_seconds, work=work)
    save_file(
        {name: value.contiguous() for name, value in pipeline.vae.state_dict().items()},
        work / "vae.safetensors",
    )
    show_reconstructions(pipeline.vae, pictures, work / "reconstructions.png")


def run_joint(
    sizes: Sizes, work: Path, output: Path, device: torch.device, start_from: Path | None
) -> None:
    """Train text encoders and transformer, and write the finished checkpoint."""
    pipeline: Any = build_small_model(sizes.shape, words=all_words())
    pipeline.vae.load_state_dict(load_file(work / "vae.safetensors"))
    pipeline.vae.to(device).eval().requires_grad_(requires_grad=False)
    if start_from is not None:
        load_weights(pipeline, start_from)
    judge = load_judge(work / "judge.safetensors", device=device)
    pictures = make_training_pictures(sizes, device, work)
    set_scaling(pipeline.vae, pictures)
    latents = encode_all(pipeline.vae, pictures, chunk=64)
    data = caption_latents(pipeline, pictures, latents, seed=SEED)
    del pictures
    held_out = combinations(held_out=True)[: sizes.held_out]
    model = train_jointly(
        pipeline,
        data,
        judge,
        held_out,
        batch=sizes.joint_batch,
        learning_rate=sizes.learning_rate,
        seconds=sizes.joint_seconds,
        judge_every_seconds=sizes.judge_every_seconds,
        work=work,
    )
    result = take_exam(sizes, pipeline, model, judge, held_out)
    (work / "accuracy.json").write_text(json.dumps(result, indent=2) + "\n")
    shutil.rmtree(output, ignore_errors=True)
    save_small_model(pipeline.to("cpu"), output)
    write_hashes(output)
    print(f"the checkpoint lies in {output}", flush=True)


def make_training_pictures(sizes: Sizes, device: torch.device, work: Path) -> PictureSet:
    """Always the same ones, so that both stages see the same."""
    return make_pictures(
        combinations(held_out=False),
        count=sizes.pictures,
        size=sizes.size,
        seed=SEED,
        device=device,
        work=work,
    )


def load_weights(pipeline: Any, checkpoint: Path) -> None:
    """Everything but the VAE from a checkpoint's folder."""
    for part, name in PARTS.items():
        tensors = {k: v.float() for k, v in load_file(checkpoint / part / name).items()}
        report = getattr(pipeline, part).load_state_dict(tensors, strict=False)
        assert not report.unexpected_keys, report.unexpected_keys


def take_exam(
    sizes: Sizes,
    pipeline: Any,
    model: JointModel,
    judge: Judge,
    held_out: Sequence[tuple[str, str, str]],
) -> dict[str, float]:
    """Held-out prompts, several seeds each."""
    subjects = [*held_out] * sizes.exams
    verdicts = judge_prompts(pipeline, model, judge, subjects, seed=1000, batch=sizes.joint_batch)
    result = verdicts.summary() | {"pictures": float(len(subjects))}
    print(f"held-out prompts: {result}", flush=True)
    wrong = [
        s for s, right in zip(subjects, verdicts.everything.tolist(), strict=True) if not right
    ]
    print(f"wrong ones: {sorted(set(wrong))}", flush=True)
    return result


@torch.no_grad()
def show_reconstructions(vae: AutoencoderKL, pictures: PictureSet, path: Path) -> None:
    """Pictures above, what the VAE makes of them below."""
    chosen = to_unit(pictures.pixels[:: max(1, len(pictures) // 16)][:16])
    decoded = decode(vae, encode_mean(vae, chosen)).clamp(-1, 1)
    sheet = torch.cat([chosen[:8], decoded[:8], chosen[8:], decoded[8:]])
    levels = ((sheet * 0.5 + 0.5) * 255).round().to(torch.uint8)
    save_sheet(levels.permute(0, 2, 3, 1).cpu().numpy(), columns=8, path=path)
