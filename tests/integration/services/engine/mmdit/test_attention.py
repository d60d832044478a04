"""Attention over the joint tokens of picture and text."""

import torch

from services.engine.mmdit.attention import AttentionKernel, attend


@torch.inference_mode()
def test_tokens_that_nobody_asks_for_change_nothing_for_those_that_are_asked_for() -> None:
    joint = torch.randn(2, 90, 3, 3, 64, generator=torch.Generator().manual_seed(7))
    everybody = attend(joint, AttentionKernel.TORCH, asking=90)

    given = attend(joint, AttentionKernel.TORCH, asking=50)

    assert given.shape == (2, 50, 192)
    assert torch.allclose(given, everybody[:, :50], atol=1e-6)
