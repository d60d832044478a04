"""Text encoders that live in the host's memory and visit the device layer by layer.

Together they are as large as the transformer (11 GB for the real models) and are needed once per
prompt: a card that has no room for them pays their way over the bus for each new prompt.
"""

import torch
from accelerate import cpu_offload

from services.engine.residence import Residence


def place_encoder(
    encoder: torch.nn.Module, device: torch.device, residence: Residence
) -> torch.nn.Module:
    """Move it to the device, or let its layers pass by there one at a time."""
    if residence is Residence.RESIDENT:
        return encoder.to(device)
    return cpu_offload(encoder, execution_device=device)
