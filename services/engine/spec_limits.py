"""What a model can draw at all, whatever the catalogue allows."""

from services.engine.image_spec import ImageSpec
from services.engine.loading import LoadedModel

# The longest text diffusers' pipeline takes.
SEQUENCE_LENGTH_MAX = 512
SEED_MAX = 2**64 - 1


def objection(model: LoadedModel, spec: ImageSpec) -> str | None:
    """Why this model cannot draw this spec; None: it can."""
    multiple = model.size_multiple
    side_max = multiple * int(model.transformer.config["pos_embed_max_size"])
    for name, pixels in (("width", spec.width), ("height", spec.height)):
        if pixels % multiple or not multiple <= pixels <= side_max:
            return f"{name} {pixels} must be a multiple of {multiple} up to {side_max}"
    if not 1 <= spec.max_sequence_length <= SEQUENCE_LENGTH_MAX:
        return f"max_sequence_length must be from 1 to {SEQUENCE_LENGTH_MAX}"
    if spec.num_inference_steps < 1:
        return "num_inference_steps must be at least 1"
    if not 0 <= spec.seed <= SEED_MAX:
        return f"seed must be from 0 to {SEED_MAX}"
    return None
