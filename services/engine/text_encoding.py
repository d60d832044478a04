"""Prompts → embeddings, by all three text encoders, remembered up to a number of bytes.

The result is what `StableDiffusion3Pipeline.encode_prompt` gives. Our own few lines, because the
pipeline logs the part of a prompt that it cuts off, and prompts must not be logged.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase

from services.engine.loading import LoadedModel

CLIP_TOKENS: Final = 77
# About 100 prompts of Stable Diffusion 3.5 Large in 16 bit (333 × 4096 × 2 bytes each).
EMBEDDING_BYTES_MAX: Final = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEmbedding:
    """What the transformer is told of one prompt."""

    tokens: torch.Tensor
    """[77 + max_sequence_length, joint_attention_dim]"""
    pooled: torch.Tensor
    """[pooled_projection_dim]"""

    @property
    def size_bytes(self) -> int:
        return self.tokens.nbytes + self.pooled.nbytes


class TextEncoding:
    """The text encoders of one model with a memory of the latest prompts. Not for several threads.

    Prompts are encoded one by one: so an embedding never depends on what else is being drawn.
    """

    def __init__(self, model: LoadedModel, *, bytes_max: int = EMBEDDING_BYTES_MAX) -> None:
        self._model = model
        self._bytes_max = bytes_max
        self._remembered: OrderedDict[tuple[str, int], TextEmbedding] = OrderedDict()
        self._bytes = 0

    def is_remembered(self, prompt: str, max_sequence_length: int) -> bool:
        return (prompt, max_sequence_length) in self._remembered

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        key = (prompt, max_sequence_length)
        if key in self._remembered:
            self._remembered.move_to_end(key)
            return self._remembered[key]
        embedding = encode_prompt(self._model, prompt, max_sequence_length)
        self._remember(key, embedding)
        return embedding

    def _remember(self, key: tuple[str, int], embedding: TextEmbedding) -> None:
        self._remembered[key] = embedding
        self._bytes += embedding.size_bytes
        while self._bytes > self._bytes_max:
            _, forgotten = self._remembered.popitem(last=False)
            self._bytes -= forgotten.size_bytes


def encode_prompt(model: LoadedModel, prompt: str, max_sequence_length: int) -> TextEmbedding:
    """One prompt through CLIP-L, CLIP-G and T5."""
    clip_tokens: list[torch.Tensor] = []
    clip_pooled: list[torch.Tensor] = []
    for tokenizer, encoder in zip(model.clip_tokenizers, model.clip_encoders, strict=True):
        output = encoder(
            token_ids(tokenizer, prompt, CLIP_TOKENS).to(model.device), output_hidden_states=True
        )
        clip_pooled.append(output[0])
        # The last layer but one, as the model was trained.
        clip_tokens.append(output.hidden_states[-2].to(model.dtype))
    t5_tokens = _encode_t5(model, prompt, max_sequence_length)
    clip = torch.cat(clip_tokens, dim=-1)
    clip = pad(clip, (0, t5_tokens.shape[-1] - clip.shape[-1]))
    return TextEmbedding(
        tokens=torch.cat([clip, t5_tokens], dim=-2)[0],
        pooled=torch.cat(clip_pooled, dim=-1)[0],
    )


def _encode_t5(model: LoadedModel, prompt: str, max_sequence_length: int) -> torch.Tensor:
    if model.t5_encoder is None or model.t5_tokenizer is None:
        shape = (1, max_sequence_length, int(model.transformer.config["joint_attention_dim"]))
        return torch.zeros(shape, device=model.device, dtype=model.dtype)
    ids = token_ids(model.t5_tokenizer, prompt, max_sequence_length)
    return model.t5_encoder(ids.to(model.device))[0].to(model.dtype)


def token_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, length: int) -> torch.Tensor:
    """[1, length], padded or cut."""
    return tokenizer(
        [prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
