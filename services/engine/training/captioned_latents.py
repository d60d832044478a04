"""What the transformer learns from: latents, and several captions of each as token numbers."""

from dataclasses import dataclass
from random import Random
from typing import Any, Final

import torch
from torch import Tensor

from services.engine.training.picture_set import PictureSet
from services.engine.training.vocabulary import write_caption
from services.engine.word_tokenizers import CLIP_TOKENS

CAPTIONS_EACH: Final = 4
T5_TOKENS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token numbers of N texts for the three encoders."""

    clip_l: Tensor
    clip_g: Tensor
    t5: Tensor

    def pick(self, rows: Tensor, *, t5_length: int) -> "Tokens":
        return Tokens(
            clip_l=self.clip_l[rows], clip_g=self.clip_g[rows], t5=self.t5[rows, :t5_length]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedLatents:
    """Latents [N, 16, h, w]; captions of picture n are rows 4n to 4n+3, the last row is ""."""

    latents: Tensor
    tokens: Tokens

    def draw(self, batch: int, *, t5_length: int, caption_dropout: float) -> tuple[Tensor, Tokens]:
        device = self.latents.device
        chosen = torch.randint(len(self.latents), (batch,), device=device)
        rows = chosen * CAPTIONS_EACH + torch.randint(CAPTIONS_EACH, (batch,), device=device)
        dropped = torch.rand(batch, device=device) < caption_dropout
        empty = len(self.latents) * CAPTIONS_EACH
        rows = torch.where(dropped, empty, rows)
        return self.latents[chosen].float(), self.tokens.pick(rows, t5_length=t5_length)


def caption_latents(
    pipeline: Any, pictures: PictureSet, latents: Tensor, *, seed: int
) -> CaptionedLatents:
    """Write captions for every picture."""
    random = Random(seed)
    captions = [
        write_caption(random, content)
        for content in pictures.contents
        for _ in range(CAPTIONS_EACH)
    ]
    tokens = tokenize(pipeline, [*captions, ""], device=latents.device)
    return CaptionedLatents(latents=latents, tokens=tokens)


def tokenize(pipeline: Any, texts: list[str], *, device: torch.device) -> Tokens:
    """As the pipeline does it."""

    def numbers(tokenizer: Any, length: int) -> Tensor:
        found = tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return found.input_ids.to(device)

    return Tokens(
        clip_l=numbers(pipeline.tokenizer, CLIP_TOKENS),
        clip_g=numbers(pipeline.tokenizer_2, CLIP_TOKENS),
        t5=numbers(pipeline.tokenizer_3, T5_TOKENS),
    )
