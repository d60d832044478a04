"""The VAE: pictures ↔ latents of 16 channels, an eighth as wide and high."""

from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from services.engine.training.budget import Budget
from services.engine.training.picture_set import PictureSet, to_unit
from services.engine.training.training_state import Average, load_state, save_state

LATENT_NOISE: Final = 0.1
SIZE_PENALTY: Final = 1e-3
EDGE_WEIGHT: Final = 0.6
LEARNING_RATE: Final = 1.5e-3
WHOLE_PICTURE_EVERY: Final = 4
REPORT_SECONDS: Final = 20.0


def train_vae(
    vae: AutoencoderKL,
    pictures: PictureSet,
    *,
    batch: int,
    seconds: float,
    work: Path,
) -> None:
    """Train in place; the result is the average of the last updates."""
    device = pictures.pixels.device
    # diffusers types .to() as if it were a plain function.
    vae.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue, reportArgumentType]
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    average = Average(vae, decay=0.999)
    budget = Budget(seconds=seconds)
    load_state(work / "vae", average, optimizer, budget)
    while not budget.is_over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(LEARNING_RATE, lowest=1e-5)
        is_whole = average.updates % WHOLE_PICTURE_EVERY == 0
        picture = draw_batch(pictures.pixels, batch=batch, is_whole=is_whole)
        with torch.autocast(device.type, torch.bfloat16):
            loss = reconstruction_loss(vae, picture)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update()
        if budget.is_time_to_report(REPORT_SECONDS):
            print(
                f"vae {budget.spent:5.0f} s, update {average.updates}:"
                f" {peak_signal_to_noise(vae, pictures):.2f} dB",
                flush=True,
            )
            save_state(work / "vae", average, optimizer, budget)
    save_state(work / "vae", average, optimizer, budget)
    average.swap()
    print(f"vae done: {peak_signal_to_noise(vae, pictures):.2f} dB", flush=True)


def draw_batch(pixels: Tensor, *, batch: int, is_whole: bool) -> Tensor:
    """Crops of half the size, or a quarter as many whole pictures."""
    size = pixels.shape[-1]
    count = max(1, batch // 4) if is_whole else batch
    chosen = pixels[torch.randint(len(pixels), (count,), device=pixels.device)]
    if not is_whole:
        # One place for the whole batch: the objects are in different places anyway.
        top, left = torch.randint(0, size // 2 + 1, (2,)).tolist()
        chosen = chosen[:, :, top : top + size // 2, left : left + size // 2]
    return to_unit(chosen).contiguous(memory_format=torch.channels_last)


def reconstruction_loss(vae: AutoencoderKL, picture: Tensor) -> Tensor:
    """Colours, edges, and a weak wish that latents stay small."""
    latents = encode_mean(vae, picture)
    noisy = latents + LATENT_NOISE * torch.randn_like(latents)
    decoded = decode(vae, noisy).float()
    edges = l1_loss(decoded.diff(dim=-1), picture.diff(dim=-1)) + l1_loss(
        decoded.diff(dim=-2), picture.diff(dim=-2)
    )
    colours = l1_loss(decoded, picture) + 0.5 * mse_loss(decoded, picture)
    return colours + EDGE_WEIGHT * edges + SIZE_PENALTY * 0.5 * latents.float().square().mean()


def encode_mean(vae: AutoencoderKL, picture: Tensor) -> Tensor:
    """[N, 3, h, w] from -1 to 1 → [N, 16, h/8, w/8], not yet scaled."""
    encoded: Any = vae.encode(picture)
    return encoded.latent_dist.mode()


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """[N, 16, h/8, w/8], not scaled → [N, 3, h, w] from -1 to 1."""
    # diffusers asks for a FloatTensor, which no tensor in torch's own stubs is.
    return vae.decode(latents, return_dict=False)[0]  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def peak_signal_to_noise(vae: AutoencoderKL, pictures: PictureSet) -> float:
    """In dB, over 32 whole pictures."""
    chosen = to_unit(pictures.pixels[:: max(1, len(pictures) // 32)][:32])
    with torch.autocast(chosen.device.type, torch.bfloat16):
        decoded = decode(vae, encode_mean(vae, chosen)).float()
    error = mse_loss(decoded.clamp(-1, 1), chosen) / 4
    return float(-10 * error.log10())


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pictures: PictureSet, *, chunk: int) -> Tensor:
    """Latents of every picture, as the transformer sees them."""
    config = vae.config
    latents = [
        (encode_mean(vae, to_unit(part)) - config["shift_factor"]) * config["scaling_factor"]
        for part in pictures.pixels.split(chunk)
    ]
    return torch.cat([part.half() for part in latents])


@torch.no_grad()
def set_scaling(vae: AutoencoderKL, pictures: PictureSet) -> None:
    """Make latents of mean 0 and deviation 1, by the two numbers every pipeline reads."""
    chosen = pictures.pixels[:: max(1, len(pictures) // 256)][:256]
    latents = torch.cat([encode_mean(vae, to_unit(part)) for part in chosen.split(16)])
    vae.register_to_config(
        shift_factor=round(float(latents.mean()), 5),
        scaling_factor=round(1.0 / float(latents.std()), 5),
    )
