"""The transformer of Stable Diffusion 3.5: latents and conditioning → velocity."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

from services.engine.errors import WrongArchitectureError
from services.engine.mmdit.arithmetic import Arithmetic, ModulationPlace
from services.engine.mmdit.block import Block, Tokens, take_block
from services.engine.mmdit.conditioning import (
    Conditioning,
    ModulationLayout,
    ModulationWeights,
    OffloadedModulation,
    ResidentModulation,
    layout_of,
    modulation_parts,
    project_steps,
)
from services.engine.mmdit.linears.making import LinearMaker
from services.engine.mmdit.rows import Rows
from services.engine.mmdit.torch_rows import TorchRows


class Mmdit:
    """Made from diffusers' model, whose weights it takes over block by block."""

    def __init__(
        self,
        transformer: SD3Transformer2DModel,
        *,
        device: torch.device,
        dtype: torch.dtype,
        arithmetic: Arithmetic,
        maker: LinearMaker | None = None,
    ) -> None:
        """Quantise and place every weight; the given model must not be used any more.

        Its blocks are emptied one after the other, so that the device never holds a layer twice.
        """
        assert_stable_diffusion_35(transformer)
        self.config: Mapping[str, Any] = transformer.config
        self.arithmetic = arithmetic
        self.device = device
        self.dtype = dtype
        source: Any = transformer
        self._layout: ModulationLayout = layout_of(source.transformer_blocks, width=self.width)
        self._modulation = self._take_modulation(source)
        self._time_text_embed = source.time_text_embed.to(device, dtype)
        self._context_embedder = source.context_embedder.to(device, dtype)
        self._patch_embed = source.pos_embed.to(device, dtype)
        self._proj_out = source.proj_out.to(device, dtype)
        maker = maker or LinearMaker(arithmetic.backend, recipe=arithmetic.recipe)
        self._blocks = self._take_blocks(source, maker)
        self._operations = make_rows(device, quantises=maker.quantises_rows)
        self._exit_operations = make_rows(device, quantises=False)

    @property
    def width(self) -> int:
        return int(self.config["num_attention_heads"] * self.config["attention_head_dim"])

    def _take_modulation(self, source: Any) -> ModulationWeights:  # noqa: ANN401
        if self.arithmetic.modulation is ModulationPlace.OFFLOADED:
            parts = modulation_parts(source, lambda tensor: tensor.data.to(self.dtype))
            return OffloadedModulation(parts, device=self.device)
        return ResidentModulation(modulation_parts(source, self._place))

    def _take_blocks(self, source: Any, maker: LinearMaker) -> list[Block]:  # noqa: ANN401
        taken: list[Block] = []
        for block in source.transformer_blocks:
            taken.append(
                take_block(
                    block,
                    heads=int(self.config["num_attention_heads"]),
                    maker=maker,
                    place=self._place,
                    attention_kernel=self.arithmetic.attention_kernel,
                )
            )
            block.to("meta")
        return taken

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.data.to(self.device, self.dtype)

    # ------------------------------------------------------------ once per image

    def condition(
        self, *, tokens: torch.Tensor, pooled: torch.Tensor, timesteps: torch.Tensor
    ) -> Conditioning:
        """Prompts [copies, text tokens, …] and [copies, …], and the schedule's [steps]."""
        return Conditioning(
            modulation=project_steps(
                self._modulation, self._time_text_embed, timesteps=timesteps, pooled=pooled
            ),
            context=self._context_embedder(tokens),
        )

    # ------------------------------------------------------------ every step

    def velocities(
        self, latents: torch.Tensor, *, modulation: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """[images, 16, h, w] → [images, copies, 16, h, w].

        modulation is [images, copies, pieces · width], of the step each image is in; context
        [images, copies, text tokens, width].
        """
        images, copies = modulation.shape[:2]
        layers, leaving = self._layout.split(modulation.flatten(0, 1))
        # All copies of an image begin with the same latents.
        embedded = self._patch_embed(latents.to(self.dtype))
        hidden = embedded.repeat_interleave(copies, dim=0)
        rows = self._through_blocks(hidden, context.flatten(0, 1), layers, leaving)
        patches = self._proj_out(rows).view(images, copies, -1, self._proj_out.out_features)
        return self._unpatch(patches, height=latents.shape[2], width=latents.shape[3])

    def _through_blocks(
        self,
        hidden: torch.Tensor,
        context: torch.Tensor,
        layers: list[Any],
        leaving: Any,  # noqa: ANN401
    ) -> torch.Tensor:
        operations = self._operations
        picture = enter(hidden, layers[0].picture_entry, operations)
        text: Tokens | None = enter(context, layers[0].text_entry, operations)
        for index, block in enumerate(self._blocks):
            assert text is not None
            is_last = index == len(self._blocks) - 1
            picture, text = block(
                picture,
                text,
                modulation=layers[index],
                next_picture_entry=leaving if is_last else layers[index + 1].picture_entry,
                next_text_entry=None if is_last else layers[index + 1].text_entry,
                operations=operations,
                # What leaves the last layer goes into a linear that is kept in high precision.
                exit_operations=self._exit_operations if is_last else operations,
            )
        assert isinstance(picture.rows, torch.Tensor)
        return picture.rows

    def _unpatch(self, patches: torch.Tensor, *, height: int, width: int) -> torch.Tensor:
        """[images, copies, patches, p · p · channels] → [images, copies, channels, h, w]."""
        size = int(self.config["patch_size"])
        images, copies = patches.shape[:2]
        grid = patches.view(images, copies, height // size, width // size, size, size, -1)
        return grid.permute(0, 1, 6, 2, 4, 3, 5).reshape(images, copies, -1, height, width)


def enter(hidden: torch.Tensor, entry: Any, operations: Rows) -> Tokens:  # noqa: ANN401
    """A stream before its first layer."""
    return Tokens(hidden=hidden, rows=operations.normed(hidden, entry))


def make_rows(device: torch.device, *, quantises: bool) -> Rows:
    """Triton's kernels on a GPU, plain torch elsewhere."""
    if device.type == "cuda":
        # Imported here, for torch's CPU build comes without Triton.
        from services.engine.mmdit.triton_rows import TritonRows  # noqa: PLC0415

        return TritonRows(quantises=quantises)
    return TorchRows(quantises=quantises)


def assert_stable_diffusion_35(transformer: SD3Transformer2DModel) -> None:
    """Refuse what this forward would silently draw wrong."""
    if transformer.config["qk_norm"] != "rms_norm":
        raise WrongArchitectureError(
            f"the transformer has qk_norm {transformer.config['qk_norm']!r}, Stable Diffusion 3.5"
            " has 'rms_norm': give a Stable Diffusion 3.5 (3.0 is another model)"
        )
