"""The text encoders and the transformer as one module, trained together."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from services.engine.training.captioned_latents import Tokens


class JointModel(nn.Module):
    """Tokens, noisy latents and sigmas → velocities; all parts are the pipeline's own."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.transformer = pipeline.transformer
        self.clip_l = pipeline.text_encoder
        self.clip_g = pipeline.text_encoder_2
        self.t5 = pipeline.text_encoder_3

    def forward(self, latents: Tensor, sigmas: Tensor, tokens: Tokens) -> Tensor:
        embedding, pooled = self.embed(tokens)
        return self.predict(latents, sigmas, embedding, pooled)

    def predict(self, latents: Tensor, sigmas: Tensor, embedding: Tensor, pooled: Tensor) -> Tensor:
        return self.transformer(
            hidden_states=latents,
            timestep=sigmas * 1000.0,
            encoder_hidden_states=embedding,
            pooled_projections=pooled,
            return_dict=False,
        )[0].float()

    def embed(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """[N, 77 + t5, width] and [N, pooled], put together as the pipeline does."""
        clip_l = self.clip_l(tokens.clip_l, output_hidden_states=True)
        clip_g = self.clip_g(tokens.clip_g, output_hidden_states=True)
        clip = torch.cat([clip_l.hidden_states[-2], clip_g.hidden_states[-2]], dim=-1)
        t5 = self.t5(tokens.t5)[0]
        embedding = torch.cat([pad(clip, (0, t5.shape[-1] - clip.shape[-1])), t5], dim=-2)
        return embedding, torch.cat([clip_l[0], clip_g[0]], dim=-1)
