"""The transformer and the text encoders, from noise to pictures (flow matching)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from services.engine.training.budget import Budget
from services.engine.training.captioned_latents import CaptionedLatents
from services.engine.training.joint_model import JointModel
from services.engine.training.judge import Judge
from services.engine.training.sampling import judge_prompts
from services.engine.training.training_state import Average, load_state, save_state

CAPTION_DROPOUT: Final = 0.1
# Lengths of T5's part that a picture may be asked with, and how often each is trained.
T5_LENGTHS: Final = (32, 77, 256)
T5_WEIGHTS: Final = (0.25, 0.55, 0.20)
REPORT_SECONDS: Final = 10.0
SAVE_SECONDS: Final = 60.0


def train_jointly(
    pipeline: Any,
    data: CaptionedLatents,
    judge: Judge,
    held_out: Sequence[tuple[str, str, str]],
    *,
    batch: int,
    learning_rate: float,
    seconds: float,
    judge_every_seconds: float,
    work: Path,
) -> JointModel:
    """Train the pipeline's parts in place; the result is the average of the last updates."""
    model = JointModel(pipeline).to(data.latents.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    average = Average(model, decay=0.999)
    budget = Budget(seconds=seconds)
    load_state(work / "joint", average, optimizer, budget)
    saved, judged = budget.of_its_own_reports(), budget.of_its_own_reports()
    while not budget.is_over:
        for group in optimizer.param_groups:
            group["lr"] = budget.learning_rate(learning_rate, lowest=2e-5)
        loss = velocity_loss(model, data, batch=batch, shift=pipeline.scheduler.config.shift)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update()
        if budget.is_time_to_report(REPORT_SECONDS):
            report(budget, average, batch=batch, loss=loss.item())
        if judged.is_time_to_report(judge_every_seconds):
            average.swap()
            verdicts = judge_prompts(pipeline, model, judge, held_out, seed=1, batch=batch)
            print(f"  held out: {verdicts.summary()}", flush=True)
            average.swap()
        if saved.is_time_to_report(SAVE_SECONDS):
            save_state(work / "joint", average, optimizer, budget)
    save_state(work / "joint", average, optimizer, budget)
    average.swap()
    return model


def report(budget: Budget, average: Average, *, batch: int, loss: float) -> None:
    """How far, how fast, how well."""
    rate = average.updates * batch / max(1e-9, budget.spent)
    print(
        f"joint {budget.spent:5.0f} s, update {average.updates}, {rate:.0f} pictures/s:"
        f" loss {loss:.4f}",
        flush=True,
    )


def velocity_loss(model: JointModel, data: CaptionedLatents, *, batch: int, shift: float) -> Tensor:
    """Mean squared error of the predicted direction from picture to noise."""
    device = data.latents.device
    t5_length = T5_LENGTHS[int(torch.multinomial(torch.tensor(T5_WEIGHTS), 1))]
    latents, tokens = data.draw(batch, t5_length=t5_length, caption_dropout=CAPTION_DROPOUT)
    times = torch.randn(batch, device=device).sigmoid()
    sigmas = shift * times / (1 + (shift - 1) * times)
    noise = torch.randn_like(latents)
    level = sigmas.view(-1, 1, 1, 1)
    noisy = (1 - level) * latents + level * noise
    with torch.autocast(device.type, torch.bfloat16):
        velocity = model(noisy, sigmas, tokens)
    return mse_loss(velocity, noise - latents)
