"""Make the checkpoint that ships.

    python -m services.engine.training all       everything, on a GPU or (in a day) on a CPU
    python -m services.engine.training first     the VAE and the judge
    python -m services.engine.training second    text encoders and transformer; needs the first
    ... --rehearse                               all of it with tiny numbers, to find typos

Each stage takes the seconds it is given, saves its state as it goes, and goes on from it when it
is called again. The work folder keeps what the stages hand on to one another.
"""

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.engine.library_noise import silence_libraries
from services.engine.small_model import SmallModelShape, build_small_model, save_small_model
from services.engine.training.captioned_latents import caption_latents
from services.engine.training.joint_model import JointModel
from services.engine.training.joint_training import train_jointly
from services.engine.training.judge import Judge, load_judge, save_judge, train_judge
from services.engine.training.picture_set import PictureSet, make_pictures, to_unit
from services.engine.training.sampling import draw_pictures, judge_prompts
from services.engine.training.vae_training import (
    decode,
    encode_all,
    encode_mean,
    set_scaling,
    train_vae,
)
from services.engine.training.vocabulary import all_words, combinations, plain_prompt

SHAPE = SmallModelShape(vae_channels=(24, 48, 96, 96), size_max=384)
SEED = 35
SHEET_COLUMNS, SHEET_ROWS = 8, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything."""

    shape: SmallModelShape = SHAPE
    pictures: int = 32_000
    vae_batch: int = 64
    vae_seconds: float = 240.0
    judge_pictures: int = 16_000
    judge_batch: int = 256
    judge_seconds: float = 60.0
    joint_batch: int = 256
    joint_seconds: float = 400.0
    learning_rate: float = 1.2e-3
    exams: int = 4

    @property
    def size(self) -> int:
        return self.shape.default_size


REHEARSAL = Sizes(
    shape=replace(SHAPE, layers=1, heads=1, default_size=64, size_max=128),
    pictures=48,
    vae_batch=4,
    vae_seconds=4.0,
    judge_pictures=64,
    judge_batch=8,
    judge_seconds=3.0,
    joint_batch=4,
    joint_seconds=5.0,
    exams=1,
)


def main() -> None:
    """Run the stages that the command line names."""
    arguments = parse_arguments()
    silence_libraries()
    torch.manual_seed(SEED)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = REHEARSAL if arguments.rehearse else Sizes()
    for name in ("pictures", "vae_seconds", "judge_seconds", "joint_seconds"):
        if (value := getattr(arguments, name)) is not None:
            sizes = replace(sizes, **{name: value})
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.stage in {"first", "all"}:
        run_first(sizes, arguments.work, device)
    if arguments.stage in {"second", "all"}:
        run_second(sizes, arguments.work, arguments.output, device, arguments.start_from)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("first", "second", "all"))
    parser.add_argument("--work", type=Path, default=Path(".training"))
    parser.add_argument("--output", type=Path, default=Path(".training/checkpoint"))
    parser.add_argument("--start-from", type=Path, help="a checkpoint to train further")
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--vae-seconds", type=float)
    parser.add_argument("--judge-seconds", type=float)
    parser.add_argument("--joint-seconds", type=float)
    parser.add_argument("--rehearse", action="store_true")
    return parser.parse_args()


def run_first(sizes: Sizes, work: Path, device: torch.device) -> None:
    """The judge, then the VAE."""
    judge, result = train_judge(
        count=sizes.judge_pictures,
        batch=sizes.judge_batch,
        seconds=sizes.judge_seconds,
        device=device,
    )
    save_judge(judge, work / "judge.safetensors", result)
    pipeline: Any = build_small_model(sizes.shape, words=all_words())
    pictures = make_training_pictures(sizes, device)
    train_vae(pipeline.vae, pictures, batch=sizes.vae_batch, seconds=sizes.vae_seconds, work=work)
    save_file(
        {name: value.contiguous() for name, value in pipeline.vae.state_dict().items()},
        work / "vae.safetensors",
    )
    show_reconstructions(pipeline.vae, pictures, work / "reconstructions.png")


def run_second(
    sizes: Sizes, work: Path, output: Path, device: torch.device, start_from: Path | None
) -> None:
    """Text encoders and transformer, and the finished checkpoint."""
    pipeline: Any = build_small_model(sizes.shape, words=all_words())
    pipeline.vae.load_state_dict(load_file(work / "vae.safetensors"))
    pipeline.vae.to(device).eval().requires_grad_(requires_grad=False)
    if start_from is not None:
        load_weights(pipeline, start_from)
    judge = load_judge(work / "judge.safetensors", device=device)
    pictures = make_training_pictures(sizes, device)
    set_scaling(pipeline.vae, pictures)
    latents = encode_all(pipeline.vae, pictures, chunk=64)
    data = caption_latents(pipeline, pictures, latents, seed=SEED)
    del pictures
    held_out = combinations(held_out=True)[: None if sizes.joint_batch > 8 else 8]
    model = train_jointly(
        pipeline,
        data,
        judge,
        held_out,
        batch=sizes.joint_batch,
        learning_rate=sizes.learning_rate,
        seconds=sizes.joint_seconds,
        work=work,
    )
    result = take_exam(sizes, pipeline, model, judge, held_out)
    draw_sheet(pipeline, model, held_out, work / "contact-sheet.png")
    (work / "accuracy.json").write_text(json.dumps(result, indent=2) + "\n")
    shutil.rmtree(output, ignore_errors=True)
    save_small_model(pipeline.to("cpu"), output)
    print(f"the checkpoint lies in {output}", flush=True)


def make_training_pictures(sizes: Sizes, device: torch.device) -> PictureSet:
    """Always the same ones, so that both stages see the same."""
    return make_pictures(
        combinations(held_out=False),
        count=sizes.pictures,
        size=sizes.size,
        seed=SEED,
        device=device,
    )


def load_weights(pipeline: Any, checkpoint: Path) -> None:
    """Everything but the VAE from a checkpoint's folder."""
    files = {
        "transformer": "diffusion_pytorch_model.safetensors",
        "text_encoder": "model.safetensors",
        "text_encoder_2": "model.safetensors",
        "text_encoder_3": "model.safetensors",
    }
    for part, name in files.items():
        tensors = {k: v.float() for k, v in load_file(checkpoint / part / name).items()}
        report = getattr(pipeline, part).load_state_dict(tensors, strict=False)
        assert not report.unexpected_keys, report.unexpected_keys


def take_exam(
    sizes: Sizes,
    pipeline: Any,
    model: JointModel,
    judge: Judge,
    held_out: list[tuple[str, str, str]],
) -> dict[str, float]:
    """Held-out prompts, several seeds each."""
    subjects = held_out * sizes.exams
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
    save_sheet(torch.cat([chosen[:8], decoded[:8], chosen[8:], decoded[8:]]), 8, path)


def draw_sheet(
    pipeline: Any, model: JointModel, held_out: list[tuple[str, str, str]], path: Path
) -> None:
    """A contact sheet of held-out prompts."""
    count = SHEET_COLUMNS * SHEET_ROWS
    subjects = (held_out * count)[:: max(1, len(held_out) // count)][:count]
    pictures = draw_pictures(pipeline, model, [plain_prompt(s) for s in subjects], seed=5)
    save_sheet(pictures, SHEET_COLUMNS, path)


def save_sheet(pictures: Tensor, columns: int, path: Path) -> None:
    """[N, 3, size, size] from -1 to 1 → one picture of all."""
    size = pictures.shape[-1]
    grid = pictures.view(-1, columns, 3, size, size).permute(0, 3, 1, 4, 2)
    sheet = grid.reshape(-1, columns * size, 3)
    levels = ((sheet * 0.5 + 0.5) * 255).round().to(torch.uint8).cpu().numpy()
    Image.fromarray(levels).save(path)


if __name__ == "__main__":
    main()
